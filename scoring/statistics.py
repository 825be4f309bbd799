"""How sure a leaderboard is: bootstrap over studies, leave-one-out, speedups.

Pure numpy: times come in as arrays, in seconds, and the score as a function of them.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np

Score = Callable[[np.ndarray], np.ndarray]  # times (submissions, workloads) -> (submissions,)


@dataclasses.dataclass(frozen=True, eq=False)
class Bootstrap:
    """Scores and ranks in each sample.

    Attributes:
      scores: shape (samples, submissions).
      ranks: competition ranks, same shape.
    """

    scores: np.ndarray
    ranks: np.ndarray

    def score_interval(self, level: float) -> np.ndarray:
        """Percentile intervals of the scores, such as ``level`` 0.95; shape (submissions, 2).

        Source: Efron and Tibshirani (1993), "An Introduction to the Bootstrap", chapter 13.
        """
        return np.quantile(self.scores, _tails(level), axis=0).T

    def rank_interval(self, level: float) -> np.ndarray:
        """Percentile intervals of the ranks, whole numbers; shape (submissions, 2)."""
        return np.quantile(self.ranks, _tails(level), axis=0, method="inverted_cdf").T

    def rank_probabilities(self) -> np.ndarray:
        """The share of samples in which a submission has rank 1, 2, ...; rows add up to 1.

        Columns need not: those that share a rank leave out the next.

        Returns:
          Shape (submissions, submissions): by submission and rank.
        """
        num_samples, num_submissions = self.ranks.shape
        counts = [np.bincount(one - 1, minlength=num_submissions) for one in self.ranks.T]
        return np.array(counts).reshape(num_submissions, num_submissions) / num_samples


def _tails(level: float) -> tuple[float, float]:
    if not 0.0 < level < 1.0:
        raise ValueError(f"the level {level} is not between 0 and 1")
    return (1.0 - level) / 2.0, (1.0 + level) / 2.0


def bootstrap(study_times: np.ndarray, score: Score, *, samples: int, seed: int) -> Bootstrap:
    """Draws studies with replacement, for each submission and workload on its own.

    A submission's draws depend on the seed and its own times only. So neither the order of the
    submissions nor that of their studies makes a difference, and another entry changes no draw. Of
    submissions with equal times, each has its own draws, the first of them the same as if alone.

    Args:
      study_times: seconds, infinity where the target was not reached or a study is missing that
        should be there; shape (submissions, workloads, studies). NaN is a study that does not
        count: it is not drawn. Without any that counts the median is infinite.
      score: of the medians over the drawn studies, shape (submissions, workloads).
      samples: how many samples to draw.
      seed: not negative.

    Raises:
      ValueError: ``samples`` is not positive, or the times have another number of axes.
    """
    if samples < 1 or study_times.ndim != 3:
        raise ValueError(f"{samples} samples of study times of shape {study_times.shape}")
    ordered = np.sort(study_times, axis=2)  # NaN goes last
    medians = np.empty((samples, *ordered.shape[:2]))
    seen: dict[bytes, int] = {}
    for index, times in enumerate(ordered):
        # Zero plus times: the two zeros have different bytes.
        digest = hashlib.sha256(np.ascontiguousarray(0.0 + times).tobytes()).digest()
        copies = seen[digest] = seen.get(digest, -1) + 1
        words = np.frombuffer(digest, np.uint32).tolist()
        generator = np.random.default_rng([seed, copies, *words])
        medians[:, index] = _resampled_medians(times, samples, generator)
    scores = np.array([score(one) for one in medians])
    return Bootstrap(scores, competition_ranks(scores))


def _resampled_medians(
    times: np.ndarray, samples: int, generator: np.random.Generator
) -> np.ndarray:
    """Medians of samples of as many studies as count.

    Args:
      times: ascending along the studies, NaN last; shape (workloads, studies).

    Returns:
      Shape (samples, workloads).
    """
    num_workloads, num_studies = times.shape
    if not num_studies:
        return np.full((samples, num_workloads), math.inf)
    counts = np.isfinite(times).sum(axis=1) + np.isposinf(times).sum(axis=1)  # (workloads,)
    uniform = generator.random((samples, num_workloads, num_studies))
    drawn = (uniform * counts[:, None]).astype(np.int32)
    # Times ascend with their index, so the median time is the one at the median index; indices
    # beyond the count are no draws and go last.
    drawn[:, np.arange(num_studies) >= counts[:, None]] = num_studies
    drawn.sort(axis=2)
    workloads = np.arange(num_workloads)
    middle = np.maximum(counts - 1, 0)
    low = drawn[:, workloads, middle // 2]  # (samples, workloads)
    high = drawn[:, workloads, np.minimum(counts // 2, num_studies - 1)]
    padded = np.append(times, np.full((num_workloads, 1), math.inf), axis=1)
    return (padded[workloads, low] + padded[workloads, high]) / 2.0


def competition_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1, the highest score first; equal scores share a rank and leave out the next.

    Args:
      scores: shape (..., submissions); NaN is a submission that does not take part.

    Returns:
      Whole numbers of the same shape; 0 for those that do not take part.
    """
    ranks = np.ones(scores.shape, dtype=np.int64)
    for other in range(scores.shape[-1]):
        ranks += scores[..., other, None] > scores
    return np.where(np.isnan(scores), 0, ranks)


def leave_one_workload_out(
    times: np.ndarray,
    score_columns: Callable[[np.ndarray, np.ndarray], np.ndarray],
    columns: Sequence[int] | None = None,
) -> np.ndarray:
    """The scores without one of the workloads at a time.

    Args:
      times: shape (submissions, workloads).
      score_columns: takes ``times`` and the ascending indices of the columns that stay, and
        returns the scores, shape (submissions,).
      columns: indices of the workloads that are left out in turn; all by default.

    Returns:
      Shape (left out, submissions); NaN where no workload would stay.
    """
    num_submissions, num_workloads = times.shape
    every = np.arange(num_workloads)
    left_out = every.tolist() if columns is None else columns
    if num_workloads < 2:
        return np.full((len(left_out), num_submissions), math.nan)
    rows = [score_columns(times, every[every != column]) for column in left_out]
    return np.array(rows, dtype=float).reshape(len(left_out), num_submissions)


def leave_one_submission_out(times: np.ndarray, score: Score) -> np.ndarray:
    """The scores of the others without one of the submissions at a time.

    Args:
      times: shape (submissions, workloads).
      score: from times of any number of submissions to their scores.

    Returns:
      Shape (submissions left out, submissions); NaN on the diagonal.
    """
    num_submissions = len(times)
    scores = np.full((num_submissions, num_submissions), math.nan)
    for index in range(num_submissions if num_submissions > 1 else 0):
        stays = np.arange(num_submissions) != index
        scores[index, stays] = score(times[stays])
    return scores


def speedups(
    times: np.ndarray, reference: int, budgets: np.ndarray, factor: float = 1.0
) -> np.ndarray:
    """Geometric mean over the workloads of the reference's time divided by the submission's.

    Above 1 is faster than the reference. A target that was not reached counts as reached after
    ``factor`` times the budget, by both where both miss it. Filters of the score, such as the
    held-out workloads, do not apply.

    Source: Kasimbeg et al. (2025), arXiv:2502.15015, which divides the other way round and adds a
    second to the budget.

    Args:
      times: seconds, infinity where the target was not reached; shape (submissions, workloads).
      reference: index of the submission that is compared with.
      budgets: seconds, shape (workloads,); NaN where there is none.
      factor: what the tuning ruleset multiplies the budgets by.

    Returns:
      Shape (submissions,); NaN where it cannot be computed: a missed target without a budget, a
      time that is NaN or 0, no workload.
    """
    own = times[reference]
    with np.errstate(divide="ignore", invalid="ignore"):
        finite = np.where(np.isposinf(times), budgets * factor, times)
        logs = np.log(finite[reference]) - np.log(finite)
        logs = np.where(np.isposinf(times) & np.isposinf(own), 0.0, logs)
        means = logs.sum(axis=1) / times.shape[1]
        return np.where(np.isfinite(means), np.exp(means), math.nan)
