"""The rules of scoring: those of this project and those that the published tables follow.

Times are seconds of submission time, infinity where a target was not reached. Arrays have the shape
(submissions, workloads), where the workloads are the base and the held-out ones.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from scoring import profiles
from scoring.profiles import MAX_RATIO
from scoring.times import TrialResult


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """Where the ways to score differ.

    Attributes:
      name: 'default' or 'as_published'.
      fastest: the time of a study is its fastest trial's; else that of the trial that needed the
        fewest evaluations, and of several the fastest.
      exact: the integral of the profile is exact; else by the trapezoid rule on 100 points.
      missing_is_infinite: a missing study counts as infinite; else the median is over those that
        are there.
      regular_only: directories under other names than the layout's do not count.
    """

    name: str
    fastest: bool
    exact: bool
    missing_is_infinite: bool
    regular_only: bool


DEFAULT = Rules("default", True, True, True, True)
AS_PUBLISHED = Rules("as_published", False, False, False, False)


@dataclasses.dataclass(frozen=True, slots=True)
class StudyResult:
    """The time of a study on one workload.

    Attributes:
      time: the time of the trial that counts.
      trial: the number of that trial; None if none reached the target.
      num_reached: how many trials reached the target.
      num_run: how many trials there are.
      is_present: whether a trial has a log; the published rules know of no other studies.
    """

    time: float = math.inf
    trial: int | None = None
    num_reached: int = 0
    num_run: int = 0
    is_present: bool = False


def study_result(results: Iterable[TrialResult], submission: str, rules: Rules) -> StudyResult:
    """The result of a study; the order of the trials makes no difference.

    Args:
      results: its trials. Under the published rules those of ``<submission>-<time stamp>`` may be
        among them; of equal evaluation indices, the submission's own goes first.
    """
    found = [one for one in results if one.trial.is_regular or not rules.regular_only]

    def time(one: TrialResult) -> float:
        return one.time if rules.fastest else one.published_time

    def order(one: TrialResult) -> tuple[float | str, ...]:
        last = (time(one), one.trial.number, one.trial.path)
        is_merged = one.trial.submission != submission
        return last if rules.fastest else (one.published_index, is_merged, *last)

    reached = [one for one in found if time(one) < math.inf]
    best = min(reached, key=order, default=None)
    return StudyResult(
        time=math.inf if best is None else time(best),
        trial=None if best is None else best.trial.number,
        num_reached=len(reached),
        num_run=len(found),
        is_present=any(one.has_log for one in found),
    )


def medians(study_times: np.ndarray) -> np.ndarray:
    """The median over the studies; with an even number of them the mean of the middle two.

    Args:
      study_times: seconds; NaN is a study that does not count; shape (..., studies).

    Returns:
      Seconds, shape (...); NaN without any study.
    """
    if not study_times.shape[-1]:
        return np.full(study_times.shape[:-1], math.nan)
    ordered = np.sort(study_times, axis=-1)  # NaN goes last
    counts = (~np.isnan(ordered)).sum(axis=-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(counts - 1, 0) // 2, axis=-1)
    last = study_times.shape[-1] - 1
    high = np.take_along_axis(ordered, np.minimum(counts // 2, last), axis=-1)
    return ((low + high) / 2.0)[..., 0]


@dataclasses.dataclass(frozen=True)
class Scorer:
    """From times on base and held-out workloads to scores.

    Attributes:
      workloads: names of the columns.
      base: indices of the columns that the score is the mean over.
      held_out: the columns of the held-out workloads, each with that of its base workload.
      exact: see ``Rules``.
    """

    workloads: tuple[str, ...]
    base: tuple[int, ...]
    held_out: tuple[tuple[int, int], ...]
    exact: bool

    @classmethod
    def of(cls, base: Sequence[str], held_out: Mapping[str, str], rules: Rules) -> "Scorer":
        """The columns are all workloads in alphabetical order."""
        names = tuple(sorted({*base, *held_out}))
        return cls(
            names,
            tuple(names.index(one) for one in names if one in base),
            tuple((names.index(one), names.index(held_out[one])) for one in sorted(held_out)),
            rules.exact,
        )

    def filtered(self, times: np.ndarray) -> np.ndarray:
        """What the rules on held-out workloads and on ratios above 4 leave of the times.

        1. A held-out time counts only if its base workload's target was reached.
        2. A time above 4 times the best one on its workload does not count.
        3. A base time counts only if its held-out workload's still does.
        """
        kept, best = self._reached(times)
        kept[kept > MAX_RATIO * best] = math.inf
        for held_out, base in self.held_out:
            kept[np.isinf(kept[:, held_out]), base] = math.inf
        return kept

    def _reached(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The times after the first filter, and the best of each column."""
        kept = np.where(np.isnan(times), math.inf, times)
        for held_out, base in self.held_out:
            kept[np.isinf(kept[:, base]), held_out] = math.inf
        return kept, kept.min(axis=0, initial=math.inf)

    def reasons(self, times: np.ndarray) -> dict[tuple[int, int], str]:
        """Why times do not count that are there, by (submission, column)."""
        before, best = self._reached(times)
        too_slow = f"more than {MAX_RATIO:g} times the best time"
        is_slow = np.isfinite(before) & (before > MAX_RATIO * best)
        reasons: dict[tuple[int, int], str] = {}
        for row, column in np.argwhere(is_slow).tolist():
            reasons[row, column] = too_slow
        for row, column in np.argwhere(np.isfinite(times) & np.isinf(before)).tolist():
            reasons[row, column] = "the base workload's target was missed"
        for held_out, base in self.held_out:
            for row in np.flatnonzero(np.isfinite(before[:, base])).tolist():
                if math.isinf(before[row, held_out]):
                    fault = "missed its target or was not run"
                elif is_slow[row, held_out]:
                    fault = f"took {too_slow}"
                else:
                    continue
                reasons.setdefault((row, base), f"the held-out {self.workloads[held_out]} {fault}")
        return reasons

    def ratios(self, times: np.ndarray) -> np.ndarray:
        """Performance ratios on the base workloads, shape (submissions, base workloads).

        The best time is the best of those that count; see ``filtered``.
        """
        return profiles.performance_ratios(self.filtered(times)[:, list(self.base)])

    def scores(self, times: np.ndarray) -> np.ndarray:
        """The scores, shape (submissions,)."""
        if not self.base:
            return np.full(len(times), math.nan)
        ratios = self.ratios(times)
        if self.exact:
            return profiles.benchmark_scores(ratios)
        return profiles.trapezoid_scores(ratios)

    def credits(self, ratios: np.ndarray) -> np.ndarray:
        """What each base workload adds to the mean, same shape as the ratios."""
        count = profiles.workload_credits if self.exact else profiles.trapezoid_credits
        return count(ratios)

    def score_columns(self, times: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The scores over some of the columns; a held-out workload goes with its base workload.

        Args:
          times: of all columns.
          columns: indices of those that stay.
        """
        stay = set(columns.tolist())
        some = Scorer(
            self.workloads,
            tuple(one for one in self.base if one in stay),
            tuple(pair for pair in self.held_out if set(pair) <= stay),
            self.exact,
        )
        return some.scores(times)
