"""Continuing an interrupted trial from its record."""

import contextlib
import dataclasses
import json
import time
from pathlib import Path

from finishline import checkpoints
from finishline.checkpoints import Checkpoint
from finishline.clock import Account
from finishline.errors import Status
from finishline.records import RunDirectory, read_json

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
        charged: otherwise a submission could undo a bad stretch by ending itself.
      messages: sentences for people about what was found damaged.
    """

    checkpoint: Checkpoint | None
    resumes: int
    lost_steps: int
    lost_seconds: float
    ledger: dict[str, float]
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
    checkpoint, damaged = checkpoints.load_newest(run.checkpoints)
    messages += [f"{message} The one before is used." for message in damaged]
    step = checkpoint.step if checkpoint else 0
    ledger = dict(checkpoint.meta["ledger"]) if checkpoint else {}
    seconds = ledger.get(Account.SUBMISSION.value, 0.0)
    checkpoints.remove_newer(run.checkpoints, step)
    noted = read_json(run.path / HEARTBEAT_FILE) or {"step": 0, "submission_time": 0.0}
    last = run.events[-1]
    if last["event"] == "trial_ended":
        noted = last
        if last["status"] == Status.INFRASTRUCTURE_ERROR:
            ledger = last["ledger"]
    return Recovery(
        checkpoint=checkpoint,
        resumes=1 + sum(event["event"] == "resumed" for event in run.events),
        lost_steps=max(0, noted["step"] - step),
        lost_seconds=max(0.0, noted["submission_time"] - seconds),
        ledger=ledger,
        messages=messages,
    )


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
