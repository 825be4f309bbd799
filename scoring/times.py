"""What one trial says: its time to the target, how it ended, and its bookkeeping.

All times are seconds of submission time; infinity means that the target was not reached.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from finishline.errors import Status
from finishline.workload import Target
from scoring.evaluations import Evaluations, LogError
from scoring.logs import EVALUATIONS_FILE, Meta, Problem, Trial

NO_EVALUATION = "no_evaluation"
UNREADABLE_LOG = "unreadable_log"
TARGET_MISSED = "target_missed"

# Trials that ran to an end by the rules, with or without reaching the target.
_REGULAR_STATUSES = frozenset(
    {Status.TARGET_REACHED, Status.BUDGET_SPENT, Status.TRAINING_COMPLETE, TARGET_MISSED}
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrialResult:
    """The time of a trial and how it ended.

    Attributes:
      time: by the rules of this project.
      published_time: by AlgoPerf's scorer, which knows of no status and compares infinite values.
      published_index: the row, from 0, of the evaluation at that time; -1 if there is none.
      has_log: whether there is a file of evaluations, sound or not.
      steps, seconds: training steps and submission time at the last evaluation; NaN if unknown.
      best: the best value of the target metric; NaN if there is none.
      evaluation, record_keeping: seconds at the last evaluation; NaN if unknown.
      setup: seconds of setting up; NaN if not recorded, as in logs of AlgoPerf.
      hyperparameters: of the trial, or None.
      sha256: of the log; None if there is none or it is damaged.
    """

    trial: Trial
    time: float = math.inf
    published_time: float = math.inf
    published_index: int = -1
    status: str = NO_EVALUATION
    message: str = ""
    has_log: bool = False
    steps: float = math.nan
    seconds: float = math.nan
    best: float = math.nan
    evaluation: float = math.nan
    record_keeping: float = math.nan
    setup: float = math.nan
    hyperparameters: dict[str, Any] | None = None
    sha256: str | None = None

    @property
    def is_failed(self) -> bool:
        """Whether the trial ended by a fault, not by a hit, its budget or its own choice."""
        return self.status not in _REGULAR_STATUSES

    def excluded(self, status: str, reason: str) -> "TrialResult":
        """This trial as one that has not reached the target, whatever its log says."""
        return dataclasses.replace(
            self,
            time=math.inf,
            published_time=math.inf,
            published_index=-1,
            status=status,
            message=reason,
        )


def hits(value: np.ndarray, target: Target) -> np.ndarray:
    """Which evaluations meet the target by plain comparison; NaN never does."""
    return value <= target.validation if target.minimize else value >= target.validation


def time_to_target(time: np.ndarray, value: np.ndarray, target: Target) -> float:
    """The time of the first evaluation that meets the target, whatever the later ones say.

    Infinite values do not meet it, as in ``Target.is_met``.
    """
    met = np.flatnonzero(hits(value, target) & np.isfinite(value))
    return float(time[met[0]]) if met.size else math.inf


def judge_trial(
    trial: Trial,
    meta: Meta | None,
    log: Evaluations | LogError | None,
    target: Target,
    *,
    hyperparameters: dict[str, Any] | None = None,
    sha256: str | None = None,
) -> tuple[TrialResult, list[Problem]]:
    """Finds the time of a trial and how it ended.

    A trial that broke the rules, that has not ended, or whose log is damaged, has not reached the
    target. Without ``meta.json`` the status is told from the evaluations.

    Args:
      log: the evaluations, why they cannot be used, or None if there is no file.
    """
    result = TrialResult(
        trial=trial,
        hyperparameters=hyperparameters,
        sha256=sha256,
        has_log=log is not None,
        status=meta.status if meta else NO_EVALUATION,
        message=meta.message if meta else f"{EVALUATIONS_FILE} is missing or has no row",
        setup=_setup_seconds(meta),
    )
    path = f"{trial.path}/{EVALUATIONS_FILE}"
    if isinstance(log, LogError):
        if meta is None or not result.is_failed:
            message = f"{EVALUATIONS_FILE} {log}"
            result = dataclasses.replace(result, status=UNREADABLE_LOG, message=message)
        return result, [Problem(path, str(log))]
    time = math.inf
    if log is not None and len(log):
        time = time_to_target(log.time, log.value, target)
        result = _with_evaluations(result, log, target)
    if meta is None:
        if log is not None and len(log):
            status = Status.TARGET_REACHED if math.isfinite(time) else TARGET_MISSED
            result = dataclasses.replace(result, time=time, status=str(status), message="")
        return result, []
    if meta.status == Status.RULE_VIOLATION:
        return result, []
    if math.isfinite(time) and not _is_over(meta.status):
        reason = f"meets the target at {time} s, which does not count: the trial is {meta.status!r}"
        return result, [Problem(path, reason)]
    problems = []
    if (meta.status == Status.TARGET_REACHED) != math.isfinite(time):
        found = (
            f"the target is met at {time} s" if math.isfinite(time) else "no row meets the target"
        )
        reason = f"does not agree with the status {meta.status!r}: {found}"
        problems.append(Problem(path, reason))
    return dataclasses.replace(result, time=time), problems


def _is_over(status: str) -> bool:
    """Whether the referee has ended the trial for good; only then its record is a result."""
    return status in set(Status) and Status(status).is_final


def _with_evaluations(result: TrialResult, log: Evaluations, target: Target) -> TrialResult:
    met = np.flatnonzero(hits(log.value, target))
    index = int(met[0]) if met.size else -1
    time = float(log.score[index]) if met.size else math.inf
    if math.isnan(time):  # a log without the column
        time = float(log.time[index])
    values = log.value[np.isfinite(log.value)]
    best = math.nan
    if values.size:
        best = float(values.min() if target.minimize else values.max())
    return dataclasses.replace(
        result,
        published_time=time,
        published_index=index,
        steps=float(log.step[-1]),
        seconds=float(log.time[-1]),
        best=best,
        evaluation=float(log.eval_time[-1]),
        record_keeping=float(log.logging_time[-1]),
    )


def _setup_seconds(meta: Meta | None) -> float:
    ledger = meta.content.get("ledger") if meta else None
    seconds = ledger.get("setup") if isinstance(ledger, dict) else None
    try:
        return float(seconds) if isinstance(seconds, int | float) else math.nan
    except OverflowError:
        return math.nan
