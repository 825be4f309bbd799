"""Continuing an interrupted trial from its record."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Mapping
from pathlib import Path

from finishline import checkpoints
from finishline.checkpoints import Checkpoint
from finishline.clock import Account
from finishline.errors import Status
from finishline.host import surroundings
from finishline.records import (
    LOG_FIELDS,
    META_FILE,
    TARGET_SNAPSHOT_FILE,
    Event,
    RunDirectory,
    attempt,
    read_json,
    write_json,
)

HEARTBEAT_FILE = "heartbeat.json"
_HEARTBEAT_PERIOD = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recovery:
    """Where an interrupted trial goes on.

    Attributes:
      checkpoint: the state to continue from; None is the start.
      resumes: how often the trial has been continued, this time included.
      lost_steps: steps since the checkpoint, as far as they were noted.
      lost_seconds: submission time since the checkpoint, likewise.
      ledger: seconds by account. If the worker died, and not the referee, what was lost stays
        charged: otherwise a submission could undo a bad stretch by ending itself. What a discarded
        attempt took is not charged.
      cause: why it was interrupted.
      messages: sentences for people about what was found damaged.
    """

    checkpoint: Checkpoint | None
    resumes: int
    lost_steps: int
    lost_seconds: float
    ledger: dict[str, float]
    cause: str
    messages: list[str]

    @property
    def step(self) -> int:
        """Training steps done at the checkpoint."""
        return self.checkpoint.step if self.checkpoint else 0


def recover(run: RunDirectory) -> Recovery | None:
    """What the record allows to continue from; None if the trial has not been started yet.

    Raises:
      OSError: the directory cannot be read or written.
    """
    messages = []
    if run.log.torn_bytes:
        messages.append(f"{run.log.torn_bytes} bytes of a torn last event were cut off.")
    if not run.events:
        return None
    if run.events[-1].get("discarded"):
        _clear(run)
    checkpoint, damaged = checkpoints.load_newest(run.checkpoints)
    instead = "The one before is used." if checkpoint else "Training starts anew."
    messages += [f"{message} {instead}" for message in damaged]
    step = checkpoint.step if checkpoint else 0
    ledger = _ledger(run, checkpoint)
    seconds = _seconds(ledger)
    checkpoints.remove_newer(run.checkpoints, step)
    noted = read_json(run.path / HEARTBEAT_FILE) or {"step": 0, "submission_time": 0.0}
    last = run.events[-1]
    if last["event"] == "trial_ended":
        noted = last
        if last["status"] == Status.INFRASTRUCTURE_ERROR and not last.get("discarded"):
            ledger = last["ledger"]
    return Recovery(
        checkpoint=checkpoint,
        resumes=1 + sum(event["event"] == "resumed" for event in run.events),
        lost_steps=max(0, noted["step"] - step),
        lost_seconds=max(0.0, noted["submission_time"] - seconds),
        ledger=ledger,
        cause=_cause(run.events[-1]),
        messages=messages,
    )


def _cause(last: Event) -> str:
    """Why a trial was interrupted, by its last event."""
    if last["event"] != "trial_ended":
        return "The referee's process ended without a word."
    return f"{last['status']}: {last['message']}"


def _clear(run: RunDirectory) -> None:
    """Removes what a discarded attempt has left, so that the trial begins anew."""
    checkpoints.remove_newer(run.checkpoints, -1)
    (run.path / TARGET_SNAPSHOT_FILE).unlink(missing_ok=True)


def _ledger(run: RunDirectory, checkpoint: Checkpoint | None) -> dict[str, float]:
    """The checkpoint's, with what earlier resumes from the same checkpoint have charged."""
    step = checkpoint.step if checkpoint else 0
    ledgers = [dict(checkpoint.meta["ledger"]) if checkpoint else {}]
    for event in attempt(run.events):
        if event["event"] == "resumed" and event["step"] == step:
            ledgers.append(event["ledger"])
    return max(ledgers, key=_seconds)


def _seconds(ledger: Mapping[str, float]) -> float:
    return ledger.get(Account.SUBMISSION.value, 0.0)


def ended(run: RunDirectory) -> Status | None:
    """How the trial ended for good, by its log; None if it goes on.

    The views and ``meta.json`` are made again from the log: a kill may have come before them.
    """
    if not run.events or run.events[-1]["event"] != "trial_ended":
        return None
    end = run.events[-1]
    if not Status(end["status"]).is_final:
        return None
    start = next(event for event in reversed(run.events) if event["event"] == "trial_started")
    meta = {name: value for name, value in (start | end).items() if name not in LOG_FIELDS}
    meta |= surroundings(run.events)
    with contextlib.suppress(OSError):  # the next time, perhaps
        run.write_eval_view()
        run.write_measurements_view()
        write_json(run.path / META_FILE, meta)
    return Status(end["status"])


class Heartbeat:
    """Notes every few seconds how far a trial is, so that a resume can say what a kill has cost."""

    def __init__(self, folder: Path):
        self._path = folder / HEARTBEAT_FILE
        self._due = 0.0

    def beat(self, step: int, submission_time: float) -> None:
        """Writes the note if it is due; a full disk is none of its business."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _HEARTBEAT_PERIOD
        with contextlib.suppress(OSError):
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps({"step": step, "submission_time": submission_time}))
            temporary.replace(self._path)
