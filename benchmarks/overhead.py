"""What the harness costs: steps per second in a race against a bare loop of the same training.

Usage: ``python -m benchmarks.overhead [--rounds=3] [--frameworks=jax,pytorch] [--cases=digits-32]``

Each round runs the bare loop and the race one after the other in fresh processes, in alternating
order; the ratio is the median over the rounds of the paired ratios. The race is timed from a
snapshot after the compilation to its last, by the referee's clock, so it includes snapshots and the
serialising of checkpoints; the bare loop has a warm-up.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from absl import flags

from finishline import commandline

flags.DEFINE_integer("rounds", 3, "Paired measurements of each case.", lower_bound=1)
flags.DEFINE_list("frameworks", ["jax", "pytorch"], "Frameworks to measure.")
flags.DEFINE_list("cases", None, "Names of cases, such as digits-32. Default: all.")
flags.DEFINE_string("output", None, "JSON file for the figures.")

_ROOT = Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Case:
    """A workload at a batch size, for as many steps as the bare loop does in so many seconds.

    The seconds must be more than two evaluation periods of the workload.
    """

    workload: str
    batch_size: int
    seconds: float

    @property
    def name(self) -> str:
        """The name on the command line."""
        return f"{self.workload}-{self.batch_size}"


CASES = (
    Case("digits", 32, seconds=8),
    Case("digits", 512, seconds=20),
    Case("quadratic_deep", 128, seconds=8),
    Case("mnist", 16, seconds=22),
)
_FIRST_STEPS, _CALIBRATION_SECONDS = 50, 2.0


def main(argv: list[str]) -> int:
    """Measures the cases and prints a table."""
    del argv
    wanted = set(flags.FLAGS.cases or [case.name for case in CASES])
    results = []
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder) / "data"
        _make_data(data_dir)
        for case in CASES:
            for framework in flags.FLAGS.frameworks:
                if case.name in wanted:
                    results.append(_measure(case, framework, data_dir, Path(folder)))
                    _print(results[-1])
    if flags.FLAGS.output:
        Path(flags.FLAGS.output).write_text(json.dumps(results, indent=2))
    return 0


def _make_data(data_dir: Path) -> None:
    """Embedded data as they are; the others are made up, with the sizes of MNIST."""
    from finishline.workload import find_workload
    from workloads.samples import prepare_sample

    for name in sorted({case.workload for case in CASES}):
        prepare_sample(find_workload(name), data_dir, num_train=60_000, num_test=10_000)


def _measure(case: Case, framework: str, data_dir: Path, scratch: Path) -> dict[str, Any]:
    bare, races = [], []
    rate = _bare(case, framework, data_dir, _FIRST_STEPS)
    rate = _bare(case, framework, data_dir, max(_FIRST_STEPS, round(rate * _CALIBRATION_SECONDS)))
    num_steps = round(rate * case.seconds)
    for number in range(flags.FLAGS.rounds):
        experiment = scratch / f"{case.name}_{framework}_{number}"
        actions = [
            lambda: bare.append(_bare(case, framework, data_dir, num_steps)),
            lambda experiment=experiment: races.append(
                _race(case, framework, data_dir, experiment, num_steps)
            ),
        ]
        for action in actions if number % 2 else reversed(actions):
            action()
    ratios = [race["steps_per_second"] / one for race, one in zip(races, bare, strict=True)]
    return {
        "case": case.name,
        "framework": framework,
        "bare_steps_per_second": statistics.median(bare),
        "ratio": statistics.median(ratios),
        "ratio_range": (min(ratios), max(ratios)),
        **{name: statistics.median(race[name] for race in races) for name in races[0]},
    }


def _bare(case: Case, framework: str, data_dir: Path, num_steps: int) -> float:
    code = (
        f"from pathlib import Path; from benchmarks.{framework}_loop import bare_loop; "
        "from finishline.workload import find_workload; "
        f"print(bare_loop(find_workload({case.workload!r}), Path({str(data_dir)!r}), "
        f"{case.batch_size}, {num_steps}))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, check=True, capture_output=True, text=True
    ).stdout
    return float(output.split()[-1])


def _race(
    case: Case, framework: str, data_dir: Path, experiment: Path, num_steps: int
) -> dict[str, float]:
    command = [
        sys.executable,
        str(_ROOT / "submission_runner.py"),
        f"--framework={framework}",
        f"--workload={case.workload}",
        f"--submission_path={_ROOT / 'benchmarks' / f'{framework}_loop.py'}",
        "--tuning_ruleset=self",
        f"--data_dir={data_dir}",
        f"--experiment_dir={experiment.parent}",
        f"--experiment_name={experiment.name}",
        f"--max_global_steps={num_steps}",
    ]
    environment = {**os.environ, "BENCH_BATCH_SIZE": str(case.batch_size)}
    started = time.time()
    subprocess.run(command, env=environment, cwd=_ROOT, stdout=subprocess.DEVNULL)
    return _figures(next(experiment.glob("*/*/*/trial_1")), started, num_steps)


def _figures(run_dir: Path, started: float, num_steps: int) -> dict[str, float]:
    """What one race's record says."""
    from finishline.records import read_events

    events = [event for _, event in read_events(run_dir / "events.jsonl")]
    evaluations = [event for event in events if event["event"] == "evaluation"]
    end = events[-1]
    # The first snapshots may fall into the compilation.
    settled = [event for event in evaluations if event["step"] >= num_steps // 10]
    if len(settled) < 2:
        raise SystemExit(f"{run_dir} has too few evaluations: {end['status']} {end['message']}")
    first, last = settled[0], settled[-1]
    seconds = last["ledger"]["submission"] - first["ledger"]["submission"]
    asked = next(event for event in events if event["event"] == "batch_size")
    return {
        "steps_per_second": (last["step"] - first["step"]) / seconds,
        "seconds_to_start": _timestamp(asked) - started,
        "first_evaluation_seconds": evaluations[0]["ledger"]["evaluation"],
        "evaluations_seconds": last["ledger"]["evaluation"],
        "num_evaluations": len(evaluations),
        "ledger_seconds": sum(end["ledger"].values()),
        "referee_peak_mb": end["peak_memory_bytes"]["referee"] / 1e6,
        "worker_peak_mb": end["peak_memory_bytes"]["worker"] / 1e6,
    }


def _timestamp(event: dict[str, Any]) -> float:
    import datetime

    return datetime.datetime.fromisoformat(event["time"]).timestamp()


def _print(result: dict[str, Any]) -> None:
    added = 1e6 / result["steps_per_second"] - 1e6 / result["bare_steps_per_second"]
    low, high = result["ratio_range"]
    print(
        f"{result['case']:>20} {result['framework']:<8} "
        f"ratio {result['ratio']:.3f} ({low:.3f} to {high:.3f}), "
        f"{result['steps_per_second']:.0f} against {result['bare_steps_per_second']:.0f} steps/s, "
        f"{added:+.1f} us a step; {result['num_evaluations']:.0f} evaluations in "
        f"{result['evaluations_seconds']:.2f} s; started after {result['seconds_to_start']:.1f} s; "
        f"peak memory {result['referee_peak_mb']:.0f} + {result['worker_peak_mb']:.0f} MB",
        flush=True,
    )


if __name__ == "__main__":
    commandline.run(main)
