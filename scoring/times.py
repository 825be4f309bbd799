"""The times of trials, studies and submissions.

All times are seconds of submission time; infinity means that the target was not reached.
"""

import collections
import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from finishline.errors import Status
from finishline.workload import Target
from scoring.logs import EVALUATIONS_FILE, LogError, Meta, Problem, Trial, read_evaluations

NO_EVALUATION = "no_evaluation"
UNREADABLE_LOG = "unreadable_log"
TARGET_MISSED = "target_missed"

# Trials that ran to an end by the rules, with or without reaching the target.
_REGULAR_STATUSES = frozenset(
    {Status.TARGET_REACHED, Status.BUDGET_SPENT, Status.TRAINING_COMPLETE, TARGET_MISSED}
)


@dataclasses.dataclass(frozen=True, slots=True)
class TrialResult:
    """The time of a trial and how it ended."""

    trial: Trial
    time: float
    status: str
    message: str

    @property
    def is_failed(self) -> bool:
        """Whether the trial ended by a fault, not by a hit, its budget or its own choice."""
        return self.status not in _REGULAR_STATUSES


@dataclasses.dataclass(frozen=True, slots=True)
class StudyResult:
    """The time of a study on one workload.

    Attributes:
      time: the time of the fastest trial.
      trial: the number of the fastest trial; None if none reached the target.
      num_reached: how many trials reached the target.
      num_run: how many trials there are.
    """

    time: float = math.inf
    trial: int | None = None
    num_reached: int = 0
    num_run: int = 0

    def with_trial(self, result: TrialResult) -> "StudyResult":
        """This study with one trial more; the order of the trials makes no difference."""
        reached = math.isfinite(result.time)
        own = (self.time, math.inf if self.trial is None else self.trial)
        is_faster = reached and (result.time, result.trial.number) < own
        return StudyResult(
            time=result.time if is_faster else self.time,
            trial=result.trial.number if is_faster else self.trial,
            num_reached=self.num_reached + reached,
            num_run=self.num_run + 1,
        )


StudyKey = tuple[str, str, int]  # submission, workload, study


def time_to_target(evaluations: Iterable[tuple[float, float]], target: Target) -> float:
    """The time of the first evaluation that meets the target, whatever the later ones say."""
    return next((time for time, value in evaluations if target.is_met(value)), math.inf)


def judge_trial(
    trial: Trial, meta: Meta | None, target: Target
) -> tuple[TrialResult, list[Problem]]:
    """Reads the evaluations of a trial and finds its time.

    A trial that broke the rules, or whose log is damaged, has not reached the target. Without
    ``meta.json`` the status is told from the evaluations.
    """
    log = trial.path / EVALUATIONS_FILE
    try:
        evaluations = read_evaluations(trial.path, target.metric)
    except LogError as error:
        is_regular = meta is None or meta.status in _REGULAR_STATUSES
        status, message = (UNREADABLE_LOG, f"{EVALUATIONS_FILE} {error}")
        if meta is not None and not is_regular:
            status, message = meta.status, meta.message
        return TrialResult(trial, math.inf, status, message), [Problem(log, str(error))]
    time = time_to_target(evaluations, target)
    if meta is None:
        status, message = TARGET_MISSED, ""
        if math.isfinite(time):
            status = Status.TARGET_REACHED.value
        elif not evaluations:
            status, message = NO_EVALUATION, f"{EVALUATIONS_FILE} is missing or has no row"
        return TrialResult(trial, time, status, message), []
    if meta.status == Status.RULE_VIOLATION:
        return TrialResult(trial, math.inf, meta.status, meta.message), []
    problems = []
    if (meta.status == Status.TARGET_REACHED) != math.isfinite(time):
        found = (
            f"the target is met at {time} s" if math.isfinite(time) else "no row meets the target"
        )
        problems.append(Problem(log, f"does not agree with the status {meta.status!r}: {found}"))
    return TrialResult(trial, time, meta.status, meta.message), problems


def median_times(
    studies: Mapping[StudyKey, StudyResult],
    submissions: Sequence[str],
    workloads: Sequence[str],
    num_studies: int,
) -> np.ndarray:
    """The median over the studies; those missing from ``num_studies`` are infinite.

    With an even number of studies it is the mean of the middle two.

    Returns:
      Seconds, shape (submissions, workloads).
    """
    times: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for (submission, workload, _), study in studies.items():
        times[submission, workload].append(study.time)

    def median(submission: str, workload: str) -> float:
        found = times[submission, workload]
        return statistics.median(found + [math.inf] * (num_studies - len(found)))

    return np.array([[median(one, workload) for workload in workloads] for one in submissions])
