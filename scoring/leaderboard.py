"""The leaderboard on the terminal and as files."""

import collections
import csv
import io
import math
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from finishline.errors import UserError
from scoring import profiles
from scoring.scores import Scores
from scoring.targets import describe

_MAX_LINES = 20  # of failures or problems on the terminal; the Markdown page has all
_NO_TIME = "–"


def print_leaderboard(scores: Scores) -> None:
    """Prints the leaderboard: as a table on a terminal, else as plain text."""
    if sys.stdout.isatty():
        _print_rich(scores)
    else:
        print(_plain_table(scores))
    print()
    print(explanation(scores))
    failures = [" · ".join(filter(None, line)) for line in _failure_rows(scores)]
    problems = [f"{path} {reason}" for path, reason in _problem_rows(scores)]
    for title, lines in (("Failed trials", failures), ("Problems in the logs", problems)):
        if lines:
            print(f"\n{title} ({len(lines)}):")
            print("\n".join(f"  {line}" for line in lines[:_MAX_LINES]))
            if len(lines) > _MAX_LINES:
                print(f"  and {len(lines) - _MAX_LINES} more, see leaderboard.md")


def write_leaderboard(scores: Scores, output_dir: Path) -> None:
    """Writes ``leaderboard.csv``, ``leaderboard.md`` and the tables behind them.

    ``times_to_target.csv`` has the medians, ``study_times.csv`` the studies they come from, and
    ``performance_profiles.csv`` the profiles at every ``tau`` in [1, 4] where one of them rises.
    Each file is whole or absent at any moment.

    Raises:
      UserError: the directory cannot be written.
    """
    files = {
        "leaderboard.csv": _csv(_leaderboard_rows(scores)),
        "leaderboard.md": markdown(scores),
        "times_to_target.csv": _csv(_times_rows(scores)),
        "study_times.csv": _csv(_study_rows(scores)),
        "performance_profiles.csv": _csv(_profile_rows(scores)),
    }
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            _write_atomically(output_dir / name, text)
    except OSError as error:
        raise UserError(
            f"The leaderboard cannot be written to {output_dir} ({error.strerror});"
            " choose another --output_dir."
        ) from error


def markdown(scores: Scores) -> str:
    """The leaderboard as a page in GitHub's Markdown."""
    header, *rows = _display_rows(scores)
    aligns = ["--:", ":--", *["--:"] * (len(header) - 3), ":--"]
    targets = ", ".join(
        f"`{name}` {describe(scores.targets[name])}"
        for name in scores.workloads
        if name in scores.targets
    )
    parts = [
        "# Leaderboard",
        _markdown_table(header, aligns, rows),
        explanation(scores),
        f"Targets on the validation data: {targets}.",
    ]
    failures = _failure_rows(scores)
    if failures:
        table = _markdown_table(("trial", "status", "message"), [":--"] * 3, failures)
        parts.append(_details(f"Failed trials: {len(failures)}", table))
    problems = _problem_rows(scores)
    if problems:
        table = _markdown_table(("where", "what"), [":--"] * 2, problems)
        parts.append(_details(f"Problems in the logs: {len(problems)}", table))
    return "\n\n".join(parts) + "\n"


def explanation(scores: Scores) -> str:
    """How the score is computed, in two sentences."""
    studies = f"{scores.num_studies} studies" if scores.num_studies > 1 else "one study"
    return (
        "A submission's time on a workload is the median over "
        f"{studies} of the fastest trial's submission time at the first evaluation that met the "
        "validation target, where a study that is missing or never met it counts as infinite. "
        f"The score is the mean over {len(scores.workloads)} workloads of max(0, 4 − r) / 3, where "
        "r is that time divided by the best submission's: the area under the performance profile "
        "for τ from 1 to 4."
    )


def _display_rows(scores: Scores) -> list[list[str]]:
    """The table for people, header first: one column a workload with time and hits."""
    rows = [["rank", "submission", "score", *scores.workloads, "failed trials"]]
    for index, submission in enumerate(scores.submissions):
        cells = []
        for column, workload in enumerate(scores.workloads):
            reached, run = scores.hits(submission, workload)
            time = scores.times[index, column]
            text = f"{time:.1f} s" if math.isfinite(time) else _NO_TIME
            cells.append(f"{text} ({reached}/{run})")
        rank, score = str(scores.ranks[index]), f"{scores.scores[index]:.4f}"
        rows.append([rank, submission, score, *cells, _failure_counts(scores, submission)])
    return rows


def _failure_counts(scores: Scores, submission: str) -> str:
    statuses = (one.status for one in scores.failures if one.trial.submission == submission)
    counts = sorted(collections.Counter(statuses).items())
    return ", ".join(f"{count} {status}" for status, count in counts) or "0"


def _failure_rows(scores: Scores) -> list[tuple[str, str, str]]:
    return [
        (str(one.trial.path.relative_to(scores.root)), one.status, " ".join(one.message.split()))
        for one in scores.failures
    ]


def _problem_rows(scores: Scores) -> list[tuple[str, str]]:
    root = scores.root
    return [(str(one.path.relative_to(root.parent)), one.reason) for one in scores.problems]


def _leaderboard_rows(scores: Scores) -> Iterable[Sequence[object]]:
    names = ("time_sec", "trials_reached", "trials_run")
    columns = [f"{workload}_{name}" for workload in scores.workloads for name in names]
    yield ["rank", "submission", "score", *columns, "failed_trials"]
    for index, submission in enumerate(scores.submissions):
        cells: list[object] = []
        for column, workload in enumerate(scores.workloads):
            cells += [float(scores.times[index, column]), *scores.hits(submission, workload)]
        start = (scores.ranks[index], submission, float(scores.scores[index]))
        yield [*start, *cells, _failure_counts(scores, submission)]


def _times_rows(scores: Scores) -> Iterable[Sequence[object]]:
    yield ["submission", *scores.workloads]
    for submission, row in zip(scores.submissions, scores.times.tolist(), strict=True):
        yield [submission, *row]


def _study_rows(scores: Scores) -> Iterable[Sequence[object]]:
    yield ["submission", "workload", "study", "time_sec", "trial", "trials_reached", "trials_run"]
    for key, study in sorted(scores.studies.items()):
        trial = "" if study.trial is None else study.trial
        yield [*key, study.time, trial, study.num_reached, study.num_run]


def _profile_rows(scores: Scores) -> Iterable[Sequence[object]]:
    yield ["tau", *scores.submissions]
    taus = profiles.profile_steps(scores.ratios)
    shares = profiles.performance_profile(scores.ratios, taus)
    for tau, row in zip(taus.tolist(), shares.T.tolist(), strict=True):
        yield [tau, *row]


def _print_rich(scores: Scores) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    rows = _display_rows(scores)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 3 * len(widths) + 1 > console.width:
        rows = [list(column) for column in zip(*rows, strict=True)]
    header, *rows = rows
    caption = "median time to the target (trials that reached it/trials)"
    table = Table(title="Leaderboard", caption=caption, box=box.SIMPLE_HEAD)
    for name in header:
        table.add_column(escape(name), overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _plain_table(scores: Scores) -> str:
    rows = _display_rows(scores)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _markdown_table(
    header: Sequence[str], aligns: Sequence[str], rows: Iterable[Sequence[str]]
) -> str:
    lines = [header, aligns, *rows]
    cells = ([_escape(cell) if line is not aligns else cell for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _escape(text: str) -> str:
    """Keeps what Markdown and HTML would read as markup, such as the bars between cells."""
    text = re.sub(r"[\\`*|\[\]]", r"\\\g<0>", text)
    # An underscore within a word is no markup.
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _details(summary: str, body: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
