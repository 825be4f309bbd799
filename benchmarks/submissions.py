"""What the reference submissions reach: a table of times and hits, from the records of their runs.

Usage: ``python -m benchmarks.submissions EXPERIMENT_DIR... [--output=docs/submissions.md]``

``make submissions`` makes both the runs and the table. A cell has the fastest time to the target
over the trials, in seconds of submission time, and how many of them reached it.
"""

import collections
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from finishline import commandline
from finishline.errors import Status
from finishline.frameworks import FRAMEWORKS
from finishline.records import META_FILE, read_json
from finishline.study import recorded_status
from scoring.runs import Names, find_runs

flags.DEFINE_string("output", None, "Markdown file for the table; else it is printed.")
flags.DEFINE_string("remark", "", "A sentence on how it was run, for the head of the table.")

_ENOUGH = 3  # workloads of different kinds that a submission should reach
_HEAD = """# What the reference submissions reach

Made by `make submissions`: one study of each submission in `reference_submissions/` on the
workloads below, of one trial, or of more where the first missed. In each cell: seconds of
submission time of the fastest trial that reached the target, and trials that did of those that were
run. {machines} {remark}

"""

# By (algorithm, workload, framework): the times of the trials, None for a target that was missed.
Results = Mapping[tuple[str, str, str], Sequence[float | None]]


def read_results(experiments: Sequence[Path]) -> Results:
    """The times of all trials in ``experiments`` that are over."""
    results: dict[tuple[str, str, str], list[float | None]] = collections.defaultdict(list)
    for names, status, meta in _finished(experiments):
        algorithm = names.submission.removesuffix(f"_{names.framework}")
        is_hit = status is Status.TARGET_REACHED
        results[algorithm, names.workload, names.framework].append(
            meta["submission_time"] if is_hit else None
        )
    return results


def describe_machines(experiments: Sequence[Path]) -> str:
    """A sentence on where the trials in ``experiments`` ran, and how many cores each had."""
    machines = {
        f"{machine['processor']}, {machine['cores']} of its cores for each trial"
        for machine in (meta["machine"] for *_, meta in _finished(experiments))
    }
    return f"Machine: {'; '.join(sorted(machines))}."


def _finished(experiments: Sequence[Path]) -> Iterator[tuple[Names, Status, Mapping[str, Any]]]:
    """The names, the ending and the record of each trial that is over."""
    for run in (run for experiment in experiments for run in find_runs(experiment)):
        status = recorded_status(run.path)
        if run.names is not None and status is not None and status.is_final:
            yield run.names, status, read_json(run.path / META_FILE)


def markdown(results: Results) -> str:
    """The table, and a sentence on each submission that reaches too few targets."""
    algorithms = sorted({algorithm for algorithm, _, _ in results})
    workloads = sorted({workload for _, workload, _ in results})
    columns = [(workload, framework) for workload in workloads for framework in FRAMEWORKS]
    lines = [
        "| submission | " + " | ".join(f"{w}, {f}" for w, f in columns) + " |",
        "| :-- |" + " --: |" * len(columns),
    ]
    for algorithm in algorithms:
        cells = [_cell(results.get((algorithm, *column), ())) for column in columns]
        lines.append(f"| {algorithm} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_shortfalls(results, algorithms, workloads)]) + "\n"


def _cell(times: Sequence[float | None]) -> str:
    hits = [time for time in times if time is not None]
    if not times:
        return "not run"
    fastest = f"{min(hits):.1f} s" if hits else "missed"
    return f"{fastest} ({len(hits)}/{len(times)})"


def _shortfalls(results: Results, algorithms: Sequence[str], workloads: Sequence[str]) -> list[str]:
    """A line for each submission that reaches fewer targets than it should, by framework."""
    lines = []
    for algorithm in algorithms:
        for framework in FRAMEWORKS:
            runs = {w: results.get((algorithm, w, framework), ()) for w in workloads}
            missed = [w for w, times in runs.items() if times and not any(times)]
            if sum(any(times) for times in runs.values()) < _ENOUGH and missed:
                lines.append(f"- `{algorithm}` in {framework} missed {', '.join(missed)}.")
    if lines:
        lines.insert(0, f"With fewer than {_ENOUGH} targets reached:\n")
    return lines


def main(argv: list[str]) -> int:
    """Writes or prints the table of the experiments."""
    experiments = [Path(argument) for argument in argv]
    head = _HEAD.format(machines=describe_machines(experiments), remark=flags.FLAGS.remark)
    text = head.replace(" \n", "\n")
    text += markdown(read_results(experiments))
    if flags.FLAGS.output is None:
        sys.stdout.write(text)
    else:
        Path(flags.FLAGS.output).write_text(text)
    return 0


if __name__ == "__main__":
    commandline.run(main, argument="EXPERIMENT_DIR", is_repeated=True)
