"""Checks of logs that have neither event log nor ``meta.json``, such as those of AlgoPerf."""

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finishline.records import EVALS_FILE
from scoring.checks.findings import Finding, quoted, warning

_TIME = "accumulated_submission_time"
_STEP = "global_step"
_NEVER_DECREASE = (
    _TIME,
    "accumulated_eval_time",
    "accumulated_logging_time",
    "total_duration",
    _STEP,
)
_META = "meta_data_0.json"
_ORIGINAL = "get the original, or leave the trial out"


def check_published(folder: Path) -> tuple[list[Finding], str | None]:
    """What is wrong with the tables, and a hash that is equal for equal evaluations.

    Raises:
      OSError: a file cannot be read.
    """
    path = folder / EVALS_FILE
    if not path.exists():
        remedy = "it counts as a trial that missed the target; delete the folder if it never ran"
        return [warning("files", folder, f"it has no {EVALS_FILE}", remedy)], None
    content = path.read_bytes()
    try:
        rows = list(
            csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), restval=None)
        )
    except (ValueError, csv.Error) as error:
        problem = f"it is no table ({quoted(str(error))})"
        return [Finding("table", path, problem, _ORIGINAL)], None
    findings = list(_table_findings(path, rows)) or list(_value_findings(path, rows))
    if not findings:
        findings = list(_limit_findings(path, rows, _read_meta(folder)))
    return findings, hashlib.sha256(content).hexdigest() if rows else None


def _table_findings(path: Path, rows: list[dict[Any, Any]]) -> Iterator[Finding]:
    if not rows:
        yield Finding("table", path, "it has no evaluation", _ORIGINAL)
        return
    names = [name for name in rows[0] if name is not None]
    wanted = {_TIME, _STEP} - set(names)
    if not any(name.startswith("validation/") for name in names):
        wanted.add("validation/<metric>")
    for name in sorted(wanted):
        yield Finding("table", path, f"it has no column {name}", _ORIGINAL, 1)
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            problem = "the row has more or fewer cells than the header"
            yield Finding("table", path, problem, _ORIGINAL, number)
            return


def _value_findings(path: Path, rows: list[dict[str, str]]) -> Iterator[Finding]:
    latest: dict[str, float] = {}
    for number, row in enumerate(rows, start=2):
        for name in row:
            value = _number(row[name])
            if value is None:
                problem = f"{name} is {quoted(row[name])}, which is no number"
                yield Finding("table", path, problem, _ORIGINAL, number)
                return
            if name not in _NEVER_DECREASE:
                continue
            earlier = latest.get(name, 0.0)
            if not earlier <= value < math.inf:
                problem = f"{name} goes from {earlier:g} to {value:g}"
                yield Finding("time", path, problem, _ORIGINAL, number)
                return
            latest[name] = value
        if "score" in row and float(row["score"] or "nan") != float(row[_TIME] or "nan"):
            problem = f"score is {row['score']}, but {_TIME} {row[_TIME]}"
            remedy = f"scoring takes {_TIME}; see which is right"
            yield warning("table", path, problem, remedy, number)
            return


def _number(text: str) -> float | None:
    """The number in a cell; an empty one is not measured."""
    try:
        return float(text or "nan")
    except ValueError:
        return None


def _read_meta(folder: Path) -> dict[str, Any]:
    """AlgoPerf's description of the trial; empty if there is none or it is damaged."""
    try:
        content = json.loads((folder / _META).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _limit_findings(
    path: Path, rows: list[dict[str, str]], meta: dict[str, Any]
) -> Iterator[Finding]:
    budget = meta.get("workload.max_allowed_runtime_sec")
    if not isinstance(budget, int | float) or isinstance(budget, bool):
        return
    # AlgoPerf measures once more when the budget is spent; it is not scored.
    late = [number for number, row in enumerate(rows, 2) if float(row[_TIME] or "nan") > budget]
    if len(late) > 1:
        time = rows[late[0] - 2][_TIME]
        problem = f"an evaluation at {float(time):.2f} s, after the budget of {budget:g} s"
        remedy = "do not use what was measured then"
        yield Finding("budget", path, problem, remedy, late[0])
