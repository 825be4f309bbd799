"""Checks of times: the order of events, the ledger against the wall time, budget and period."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from finishline.clock import Account
from finishline.errors import Status
from finishline.records import Event, evaluations
from finishline.workload import target_is_met
from scoring.checks.chain import seconds
from scoring.checks.findings import Finding, quoted, warning

_SHARE = 0.005
# Event times have milliseconds and are taken a moment after the ledger is read, or, at the start,
# after machine and versions have been described.
_SLACK_SEC = 0.25
_CLOCK_SET_BACK_SEC = 0.01
_ROUNDING_SEC = 1e-3
_CHANGED = "do not use the result, and look for what changed the log"


def check_clock(path: Path, events: Sequence[Event], start: Event) -> Iterator[Finding]:
    """What is wrong with the times of a whole log.

    Args:
      path: the log.
      events: all of it.
      start: the last ``trial_started``, which has the rules of the trial.
    """
    yield from _event_times(path, events)
    for segment in _segments(events):
        yield from _decreases(path, segment)
        yield from _wall_time(path, segment)
    yield from _refunds(path, events)
    yield from _limits(path, evaluations(events), events, start)


def _segments(events: Sequence[Event]) -> list[list[Event]]:
    """The events of each process: a resumed trial starts another, with ``resumed``."""
    segments: list[list[Event]] = [[]]
    for event in events:
        if event["event"] == "resumed":
            segments.append([])
        segments[-1].append(event)
    return segments


def _event_times(path: Path, events: Sequence[Event]) -> Iterator[Finding]:
    for before, event in itertools.pairwise(events):
        back = seconds(before["time"]) - seconds(event["time"])
        if back > _CLOCK_SET_BACK_SEC:
            yield warning(
                "time",
                path,
                f"its time {event['time']} is {back:.3f} s before that of the line above",
                "see whether the machine's clock was set; the trial's own clock does not follow it",
                event["index"] + 1,
            )
            return


def _decreases(path: Path, segment: Sequence[Event]) -> Iterator[Finding]:
    booked = [event for event in segment if "ledger" in event]
    for before, event in itertools.pairwise(booked):
        for name, value in _readings(event).items():
            earlier = _readings(before)[name]
            if not value >= earlier:  # nor may it be NaN
                problem = f"{name} goes from {earlier:g} to {value:g}"
                yield Finding("time", path, problem, _CHANGED, event["index"] + 1)
                return
    for event in booked:
        for name, value in _readings(event).items():
            if not 0 <= value < float("inf"):
                problem = f"{name} is {value:g}"
                yield Finding("time", path, problem, _CHANGED, event["index"] + 1)
                return


def _readings(event: Event) -> dict[str, float]:
    return {"step": event["step"], **event["ledger"]}


def _wall_time(path: Path, segment: Sequence[Event]) -> Iterator[Finding]:
    """Compares what the ledger has gained with what has passed between the events."""
    marks = [
        (seconds(event["time"]), sum(event["ledger"].values()), event)
        for event in segment
        if "ledger" in event
    ]
    if segment[0]["event"] == "trial_started":
        marks.insert(0, (seconds(segment[0]["time"]), 0.0, segment[0]))
    if len(marks) < 2:
        return
    intervals = [(marks[0], marks[-1]), *itertools.pairwise(marks)]
    for (then, booked_then, _), (now, booked, event) in intervals:
        passed, gained = now - then, booked - booked_then
        if abs(gained - passed) > _SHARE * abs(passed) + _SLACK_SEC:
            problem = f"the ledger gained {gained:.2f} s while {passed:.2f} s passed"
            remedy = "see whether the machine was suspended or its clock set; else do not use it"
            yield Finding("ledger", path, problem, remedy, event["index"] + 1)
            return


def _refunds(path: Path, events: Sequence[Event]) -> Iterator[Finding]:
    """A trial that failed goes on with all that it was charged, unless it begins anew."""
    ended: Event | None = None
    for event in events:
        if event["event"] == "trial_ended":
            ended = event
        elif event["event"] == "resumed" and ended is not None:
            failed = ended["status"] == Status.INFRASTRUCTURE_ERROR and not ended.get("discarded")
            refund = _submission_time(ended) - _submission_time(event)
            if failed and refund > _ROUNDING_SEC:
                problem = f"{refund:.2f} s of submission time were refunded at the resume"
                yield Finding("ledger", path, problem, _CHANGED, event["index"] + 1)
            ended = None


def _limits(
    path: Path, measured: Sequence[Event], events: Sequence[Event], start: Event
) -> Iterator[Finding]:
    budget, period = start["max_allowed_runtime_sec"], start["eval_period_time_sec"]
    remedy = "do not use what was measured then, and look for what changed the clock"
    for event in measured:
        if _submission_time(event) > budget + _ROUNDING_SEC:
            problem = (
                f"an evaluation at {_submission_time(event):.2f} s, after the budget of "
                f"{budget:g} s"
            )
            yield Finding("budget", path, problem, remedy, event["index"] + 1)
            break
    # The last evaluation may come early: when training is over.
    last = measured[-1] if measured and events[-1]["event"] == "trial_ended" else None
    for before, event in itertools.pairwise(measured):
        passed = _submission_time(event) - _submission_time(before)
        if event is not last and passed < period - _ROUNDING_SEC:
            problem = (
                f"an evaluation {passed:.2f} s after the one before; the evaluation period is "
                f"{period:g} s"
            )
            yield Finding("budget", path, problem, remedy, event["index"] + 1)
            break


def check_status(path: Path, events: Sequence[Event], start: Event) -> Iterator[Finding]:
    """Whether evaluations and the end of the trial agree."""
    target = start["target"]
    key = f"validation/{target['metric']}"
    first: Event | None = None
    for event in evaluations(events):
        if key not in event["metrics"]:
            problem = f"an evaluation has no {quoted(key)}, the target's metric"
            yield Finding("status", path, problem, _CHANGED, event["index"] + 1)
            return
        is_met = _is_met(event["metrics"][key], target)
        if is_met != event["target_is_met"]:
            problem = (
                f"target_is_met is {event['target_is_met']}, but {key} is "
                f"{event['metrics'][key]:g} and the target {target['validation']:g}"
            )
            yield Finding("status", path, problem, _CHANGED, event["index"] + 1)
        if is_met and first is None:
            first = event
    end = events[-1]
    if end["event"] == "trial_ended":
        yield from _end_findings(path, end, first, start)


def _is_met(value: float, target: Mapping[str, Any]) -> bool:
    return target_is_met(value, target["validation"], minimize=target["minimize"])


def _end_findings(path: Path, end: Event, first: Event | None, start: Event) -> Iterator[Finding]:
    line = end["index"] + 1
    if end["status"] not in set(Status):
        problem = f"the status {quoted(end['status'])} is not known"
        yield Finding("status", path, problem, f"known are {', '.join(Status)}", line)
        return
    status = Status(end["status"])
    is_reached = status is Status.TARGET_REACHED
    if is_reached and first is None:
        problem = "the status is target_reached, but no evaluation meets the target"
        yield Finding("status", path, problem, _CHANGED, line)
    elif is_reached and first is not None:
        time = _submission_time(first)
        if abs(end["submission_time"] - time) > _ROUNDING_SEC:
            problem = (
                f"the result is {end['submission_time']:.3f} s, but the first evaluation that "
                f"meets the target was at {time:.3f} s"
            )
            yield Finding("status", path, problem, _CHANGED, line)
    elif first is not None and status.is_final and start["stop_at_target"]:
        problem = (
            f"the status is {status.value}, but the evaluation in line {first['index'] + 1} "
            "meets the target"
        )
        yield Finding("status", path, problem, _CHANGED, line)


def _submission_time(event: Event) -> float:
    return float(event["ledger"][Account.SUBMISSION.value])
