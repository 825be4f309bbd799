"""What the worker claims about a snapshot or a failure, read with all its bounds.

The worker runs submitted code, so a claim decides nothing that could be measured: it is checked for
its form, and then recorded and shown.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from finishline.channel import Frame, field
from finishline.errors import RuleViolation

MAX_NOTE_BYTES = 64 * 1024
_MAX_MESSAGE, _MAX_TRACEBACK = 2000, 8000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A ``snapshot`` frame.

    Attributes:
      step: training steps done.
      position: training batches taken.
      not_saved: parts of the optimizer state that the checkpoint lacks.
      lost: those of them that a resume could not make anew either.
      last_because: why nothing comes after it, 'training_complete' or 'max_global_steps'; or None.
    """

    step: int
    position: int
    not_saved: list[Any]
    lost: list[Any]
    last_because: str | None


def read_snapshot(frame: Frame, earlier_step: int, max_global_steps: int | None) -> Snapshot:
    """The claims of a ``snapshot`` frame.

    Args:
      frame: the frame.
      earlier_step: the steps that the worker has claimed before.
      max_global_steps: the step after which training ends, or None.

    Raises:
      RuleViolation: something is missing or cannot be.
    """
    step = field(frame, "step", int)
    if step < earlier_step:
        raise RuleViolation(
            f"The worker sent a 'snapshot' frame of step {step:,} after step {earlier_step:,}."
        )
    because = field(frame, "last_because", (str, type(None)))
    is_at_limit = max_global_steps is not None and step >= max_global_steps
    if because not in (None, "training_complete", *(["max_global_steps"] if is_at_limit else [])):
        raise RuleViolation(
            f"The worker sent a 'snapshot' frame of step {step:,} whose 'last_because' is "
            f"{because!r:.80}."
        )
    return Snapshot(
        step=step,
        position=field(frame, "position", int),
        not_saved=field(frame, "not_saved", list),
        lost=field(frame, "lost", list) if "lost" in frame else [],
        last_because=because,
    )


def read_data_wait(frame: Frame, most: float) -> float:
    """For how many seconds the training loop has waited for data, as a frame claims.

    Args:
      frame: a ``progress`` or ``snapshot`` frame.
      most: the submission time that has passed.

    Raises:
      RuleViolation: it is missing, or no number from 0 to ``most``.
    """
    seconds = field(frame, "data_wait_sec", float)
    if not 0 <= seconds <= most:
        raise RuleViolation(
            f"The worker sent a {frame['type']!r} frame whose 'data_wait_sec' is {seconds!r:.80} "
            f"after {most:.3f} s of submission time."
        )
    return seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a rank of the worker ended.

    Attributes:
      blame: 'submission' or 'harness'.
      message: one sentence.
      trace: the traceback.
      time: when it happened, on ``CLOCK_MONOTONIC``.
    """

    blame: str
    message: str
    trace: str
    time: float

    def __str__(self) -> str:
        return f"{self.message}\n{self.trace}".strip()


def first_failure(claims: list[Mapping[str, Any]]) -> Failure | None:
    """The earliest of the ranks' failures, which the others follow from."""
    return min(map(_read_failure, claims), key=lambda failure: failure.time, default=None)


def _read_failure(claim: Mapping[str, Any]) -> Failure:
    time = claim.get("time")
    return Failure(
        blame="submission" if claim.get("blame") == "submission" else "harness",
        message=str(claim.get("message"))[:_MAX_MESSAGE],
        trace=str(claim.get("traceback"))[-_MAX_TRACEBACK:],
        time=time if isinstance(time, float) and math.isfinite(time) else math.inf,
    )


def read_note(content: bytes) -> dict[str, Any]:
    """A JSON object that a rank has left; empty if it is none."""
    try:
        note = json.loads(content)
        json.dumps(note, ensure_ascii=False).encode()  # half a surrogate pair cannot be printed
    except (ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}
