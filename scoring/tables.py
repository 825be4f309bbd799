"""The tables made from a document (see ``scoring.document``): terminal, CSV and Markdown."""

import csv
import io
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Rows = Iterable[Sequence[object]]

_MAX_LINES = 20  # of a list on the terminal; the Markdown page has all
_NO_TIME = "–"
_REGULAR = ("target_reached", "budget_spent", "training_complete", "target_missed")


def files(document: Document) -> dict[str, str]:
    """The content of each file of tables, by its name."""
    return {
        "scores.csv": _csv(_score_rows(document)),
        "times_to_target.csv": _csv(_time_rows(document)),
        "per_study.csv": _csv(_study_rows(document)),
        "performance_profiles.csv": _csv(_profile_rows(document)),
        "speedups.csv": _csv(_speedup_rows(document)),
        "scores.json": to_json(document),
        "leaderboard.md": markdown(document),
    }


def to_json(document: Document) -> str:
    """The document as JSON, an entry of a list on a line of its own."""

    def dump(value: object) -> str:
        return json.dumps(value, allow_nan=False)

    fields = []
    for key, value in document.items():
        text = dump(value)
        if isinstance(value, list) and value:
            text = "[\n" + ",\n".join(map(dump, value)) + "\n]"
        fields.append(f"{dump(key)}: {text}")
    return "{\n" + ",\n".join(fields) + "\n}\n"


def markdown(document: Document) -> str:
    """The leaderboard as a page in GitHub's Markdown."""
    header, *rows = _display_rows(document)
    aligns = ["--:", ":--", *["--:"] * (len(header) - 3), ":--"]
    targets = ", ".join(
        f"`{one['name']}` {_describe(one)}"
        for one in document["workloads"]
        if one["target"] is not None
    )
    parts = [
        "# Leaderboard",
        _markdown_table(header, aligns, rows),
        " ".join(document["rules"]["explanation"]),
        f"Targets on the validation data: {targets}.",
        *_markdown_list("Warnings", [one["text"] for one in document["warnings"]]),
        *_markdown_list("Where the rules differ", document["rules"]["differences"]),
    ]
    lists = (
        ("Failed trials", ("trial", "status", "message"), _failure_rows(document)),
        ("Rule violations", ("where", "rule", "what"), _violation_rows(document)),
        ("Problems in the logs", ("where", "what"), _problem_rows(document)),
    )
    for title, names, lines in lists:
        if lines:
            table = _markdown_table(names, [":--"] * len(names), lines)
            parts.append(_details(f"{title}: {len(lines)}", table))
    return "\n\n".join(parts) + "\n"


def print_leaderboard(document: Document) -> None:
    """Prints the leaderboard: as a table on a terminal, else as plain text."""
    if sys.stdout.isatty():
        _print_rich(document)
    else:
        _print(_plain_table(document))
    _print("\n" + " ".join(document["rules"]["explanation"]))
    lists = (
        ("Warnings", [[one["text"]] for one in document["warnings"]], ""),
        ("Where the rules differ", [[one] for one in document["rules"]["differences"]], ""),
        ("Failed trials", _failure_rows(document), " · "),
        ("Rule violations", _violation_rows(document), " · "),
        ("Problems in the logs", _problem_rows(document), " "),
    )
    for title, rows, separator in lists:
        if rows:
            _print(f"\n{title} ({len(rows)}):")
            for row in rows[:_MAX_LINES]:
                _print(f"  {_visible(separator.join(filter(None, row)))}")
            if len(rows) > _MAX_LINES:
                _print(f"  and {len(rows) - _MAX_LINES} more, see leaderboard.md")


def _visible(text: str) -> str:
    """Names are from directories, and may hold what a terminal would take for a command."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _print(text: str) -> None:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _display_rows(document: Document) -> list[list[str]]:
    """The table for people, header first: one column a workload with time and hits."""
    base = [one["name"] for one in document["workloads"] if one["role"] == "base"]
    results = _results(document)
    has_speedups = document["reference"] is not None
    intervals = document["bootstrap"] is not None
    header = ["rank", "submission", "score", *["speedup"] * has_speedups, *base, "failed trials"]
    rows = [header]
    for one in document["submissions"]:
        score = f"{one['score']:.4f}"
        if intervals:
            score += " [{:.3f}, {:.3f}]".format(*one["score_interval"])
        speedup = _NO_TIME if one["speedup"] is None else f"{one['speedup']:.3f}"
        cells = [_display_cell(results[one["name"], workload]) for workload in base]
        start = [str(one["rank"]), one["name"], score, *[speedup] * has_speedups]
        rows.append([*start, *cells, _failure_counts(one)])
    return rows


def _display_cell(result: Mapping[str, Any]) -> str:
    time = result["time"]
    text = _NO_TIME if time is None else f"{time:.1f} s"
    if result["filtered"] is not None:
        text += "*"
    return f"{text} ({result['trials_reached']}/{result['trials_run']})"


def _results(document: Document) -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(one["submission"], one["workload"]): one for one in document["results"]}


def _failure_counts(submission: Mapping[str, Any]) -> str:
    counts = submission["statuses"].items()
    failed = [f"{count} {status}" for status, count in counts if status not in _REGULAR]
    return ", ".join(failed) or "0"


def _failure_rows(document: Document) -> list[tuple[str, ...]]:
    return [
        (one["path"], one["status"], " ".join(one["message"].split()))
        for one in document["trials"]
        if one["status"] not in _REGULAR
    ]


def _violation_rows(document: Document) -> list[tuple[str, ...]]:
    return [(one["path"], one["rule"], one["reason"]) for one in document["violations"]]


def _problem_rows(document: Document) -> list[tuple[str, ...]]:
    return [(one["path"], one["reason"]) for one in document["problems"]]


def _score_rows(document: Document) -> Rows:
    yield [
        "submission",
        "score",
        "rank",
        *("score_low", "score_high", "rank_low", "rank_high"),
        "speedup",
        "trials_reached",
        "trials_run",
        *(f"{account}_sec" for account in document["submissions"][0]["ledger"]),
        "failed_trials",
    ]
    for one in document["submissions"]:
        score_interval = one["score_interval"] or [None, None]
        rank_interval = one["rank_interval"] or [None, None]
        yield [
            one["name"],
            one["score"],
            one["rank"],
            *score_interval,
            *rank_interval,
            one["speedup"],
            one["trials_reached"],
            one["trials_run"],
            *one["ledger"].values(),
            _failure_counts(one),
        ]


def _time_rows(document: Document) -> Rows:
    """Infinite where the target was not reached; AlgoPerf leaves out what has no log at all."""
    is_default = document["rules"]["name"] == "default"
    workloads = [one["name"] for one in document["workloads"]]
    results = _results(document)
    yield ["submission", *workloads]
    for one in document["submissions"]:
        cells: list[object] = []
        for workload in workloads:
            result = results[one["name"], workload]
            is_there = is_default or result["studies_run"] > 0
            cells.append(_or_infinite(result["time"]) if is_there else None)
        yield [one["name"], *cells]


def _study_rows(document: Document) -> Rows:
    yield ["submission", "workload", "study", "time_sec", "trial", "trials_reached", "trials_run"]
    for one in document["studies"]:
        start = (one["submission"], one["workload"], one["study"], _or_infinite(one["time"]))
        yield [*start, one["trial"], one["trials_reached"], one["trials_run"]]


def _profile_rows(document: Document) -> Rows:
    """The profiles at every ``tau`` in [1, 4] where one of them rises."""
    profiles = document["profiles"]
    yield ["tau", *profiles["share"]]
    yield from zip(profiles["tau"], *profiles["share"].values(), strict=True)


def _speedup_rows(document: Document) -> Rows:
    """Reference's time by the submission's, geometric mean and by workload."""
    base = [one["name"] for one in document["workloads"] if one["role"] == "base"]
    results, reference = _results(document), document["reference"]
    yield ["submission", "reference", "speedup", *base]
    for one in document["submissions"] if reference is not None else ():
        cells: list[object] = []
        for workload in base:
            own, other = (results[name, workload]["time"] for name in (one["name"], reference))
            cells.append(other / own if own and other else None)
        yield [one["name"], reference, one["speedup"], *cells]


def _or_infinite(time: float | None) -> float:
    return math.inf if time is None else time


def _describe(workload: Mapping[str, Any]) -> str:
    return f"{workload['metric']} {'<=' if workload['minimize'] else '>='} {workload['target']}"


def _print_rich(document: Document) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    rows = [list(map(_visible, row)) for row in _display_rows(document)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 3 * len(widths) + 1 > console.width:
        rows = [list(column) for column in zip(*rows, strict=True)]
    header, *rows = rows
    caption = "median time to the target (trials that reached it/trials)"
    if any(one["filtered"] for one in document["results"]):
        caption += "; * does not count"
    table = Table(title="Leaderboard", caption=caption, box=box.SIMPLE_HEAD)
    for name in header:
        table.add_column(escape(name), overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _plain_table(document: Document) -> str:
    rows = [list(map(_visible, row)) for row in _display_rows(document)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _markdown_table(
    header: Sequence[str], aligns: Sequence[str], rows: Iterable[Sequence[str]]
) -> str:
    lines = [header, aligns, *rows]
    cells = ([_escape(cell) if line is not aligns else cell for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _markdown_list(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return [f"## {title}", "\n".join(f"- {_escape(line)}" for line in lines)]


def _escape(text: str) -> str:
    """Keeps what Markdown and HTML would read as markup, such as the bars between cells."""
    text = re.sub(r"[\\`*|\[\]]", r"\\\g<0>", " ".join(text.split()))
    # An underscore within a word is no markup.
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _details(summary: str, body: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n\n</details>"


def _csv(rows: Rows) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
