"""Checks that the tables of a run directory are what its event log makes of them."""

import csv
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from finishline.records import (
    EVALS_FILE,
    MEASUREMENTS_FILE,
    Event,
    eval_row,
    evaluations,
    measurements,
    write_csv,
)
from scoring.checks.findings import Finding, quoted

_REMEDY = (
    "it is made from events.jsonl: delete it and meta.json and run the same command with --resume,"
    " which writes both again"
)
Rows = list[dict[str, Any]]


def check_views(folder: Path, events: Sequence[Event], *, has_ended: bool) -> Iterator[Finding]:
    """Differences between the tables and the log.

    Args:
      folder: the run directory.
      events: its log.
      has_ended: whether the trial is over; before, tables may be behind the log.
    """
    rows = [eval_row(event) for event in evaluations(events)]
    yield from _check_table(folder / EVALS_FILE, rows, has_ended=has_ended)
    if has_ended:
        rows += [
            {"global_step": step, **values}
            for event in measurements(events)
            if event["event"] == "scalars"
            for step, values in event["rows"]
        ]
        rows.sort(key=lambda row: row["global_step"])
        yield from _check_table(folder / MEASUREMENTS_FILE, rows, has_ended=True)


def _check_table(path: Path, rows: Rows, *, has_ended: bool) -> Iterator[Finding]:
    if not path.exists():
        if has_ended or rows[1:]:
            yield Finding("view", path, "it is missing", _REMEDY)
        return
    content = path.read_bytes()
    expected = _bytes_of(rows)
    if content == expected:
        return
    try:
        difference = _difference(_lines(content), _lines(expected), has_ended=has_ended)
    except (ValueError, csv.Error) as error:
        difference = (1, f"it is no table ({quoted(str(error))})")
    if difference is not None:
        yield Finding("view", path, difference[1], _REMEDY, difference[0])


def _bytes_of(rows: Rows) -> bytes:
    """The table as ``finishline.records`` writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        write_csv(path, rows)
        return path.read_bytes()


def _lines(content: bytes) -> list[list[str]]:
    return list(csv.reader(content.decode().splitlines()))


def _difference(
    found: list[list[str]], expected: list[list[str]], *, has_ended: bool
) -> tuple[int, str] | None:
    """The line of the first difference and what it is."""
    for number, (row, wanted) in enumerate(zip(found, expected, strict=False), start=1):
        if row == wanted:
            continue
        names = expected[0] if number > 1 else [f"column {i + 1}" for i in range(len(wanted))]
        for name, cell, right in zip(names, row, wanted, strict=False):
            if cell != right:
                return number, f"{name} is {quoted(cell)}, but {quoted(right)} by the event log"
        return number, f"it has {len(row)} cells, but {len(wanted)} by the event log"
    if len(found) > len(expected) or (has_ended and len(found) < len(expected)):
        shared = min(len(found), len(expected))
        return shared, f"it has {len(found)} lines, but {len(expected)} by the event log"
    return None
