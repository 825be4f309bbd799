"""Reading an event log with all its faults; ``finishline.records`` stops at the first."""

import datetime
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from finishline.records import Event
from scoring.checks.findings import Finding, quoted, warning
from scoring.checks.schema import EVENTS, LOG_FIELDS, event_mismatch, mismatch

_FIRST_HASH = "0" * 64
_DAMAGED = "it was changed or damaged after it was written: restore it, or run the trial again"


def read_log(path: Path) -> tuple[list[Event], list[Finding]]:
    """The events of a log and what is wrong with lines and chain.

    The events are complete and fit for the other checks if nothing of kind "schema" was found.

    Raises:
      OSError: the file cannot be read.
    """
    events: list[Event] = []
    findings: dict[str, Finding] = {}  # the first of each sort: one fault makes others
    previous = _FIRST_HASH
    number = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                findings["torn"] = _torn(path, number, line)
                break
            for sort, finding in _line_findings(path, number, line, previous, events):
                findings.setdefault(sort, finding)
            previous = hashlib.sha256(line).hexdigest()
    if not number:
        findings["empty"] = Finding("schema", path, "it is empty", "run the trial again")
    return events, list(findings.values())


def _torn(path: Path, number: int, line: bytes) -> Finding:
    return warning(
        "chain",
        path,
        f"its last line is torn after {len(line):,} bytes",
        "continue the trial with --resume, which cuts it off",
        number,
    )


def _line_findings(
    path: Path, number: int, line: bytes, previous: str, events: list[Event]
) -> Iterator[tuple[str, Finding]]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        problem = f"it is no JSON ({quoted(str(error))})"
        yield "json", Finding("schema", path, problem, _DAMAGED, number)
        return
    if wrong := mismatch(event, LOG_FIELDS):
        yield "fields", Finding("schema", path, wrong, _DAMAGED, number)
        return
    if event["previous"] != previous:
        problem = "it does not carry the hash of the line before"
        yield "chain", Finding("chain", path, problem, _DAMAGED, number)
    elif event["index"] != number - 1:
        problem = f"its index is {event['index']} instead of {number - 1}"
        yield "chain", Finding("chain", path, problem, _DAMAGED, number)
    kind = event["event"]
    if kind not in EVENTS:
        remedy = f"known are {', '.join(EVENTS)}; check the log with the version that wrote it"
        problem = f"the event {quoted(kind)} is not known"
        yield f"event {kind}", warning("schema", path, problem, remedy, number)
        return
    wrong = event_mismatch(event) or _time_mismatch(event["time"])
    if wrong:
        problem = f"in the event {kind} {wrong}"
        yield f"fields of {kind}", Finding("schema", path, problem, _DAMAGED, number)
        return
    events.append(event)


def _time_mismatch(text: str) -> str | None:
    try:
        seconds(text)
    except (ValueError, OverflowError):
        return f"time is {quoted(text)} instead of a time"
    return None


def seconds(text: str) -> float:
    """The Unix time of an event's ``time``.

    Raises:
      ValueError: it is no time, or one without a time zone.
    """
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment.timestamp()
