"""Performance ratios, performance profiles and scores.

Source: Dolan and More (2002), "Benchmarking optimization software with performance profiles";
Dahl et al. (2023), "Benchmarking Neural Network Training Algorithms", arXiv:2306.07179, section 4.
"""

import math

import numpy as np

MAX_RATIO = 4.0
_NUM_POINTS = 100  # of AlgoPerf's profiles


def performance_ratios(times: np.ndarray) -> np.ndarray:
    """The times divided by the best time on each workload.

    Args:
      times: seconds, infinity for none; shape (submissions, workloads).

    Returns:
      Ratios >= 1 of the same shape; infinite where the time is, also if nobody has one.
    """
    best = times.min(axis=0, keepdims=True, initial=math.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(times == best, 1.0, times / best)
    return np.where(np.isfinite(times), ratios, math.inf)


def performance_profile(ratios: np.ndarray, taus: np.ndarray) -> np.ndarray:
    """The share of workloads that a submission solves within ``tau`` times the best time.

    Args:
      ratios: shape (submissions, workloads).
      taus: shape (taus,).

    Returns:
      Shares in [0, 1], shape (submissions, taus).
    """
    return (ratios[:, :, None] <= taus).mean(axis=1)


def profile_steps(ratios: np.ndarray) -> np.ndarray:
    """The values of ``tau`` in [1, 4] at which some profile rises, and both ends; ascending.

    Between two of them all profiles are constant, so that they describe the profiles exactly.
    """
    return np.unique(np.append(ratios[ratios <= MAX_RATIO], [1.0, MAX_RATIO]))


def workload_credits(ratios: np.ndarray) -> np.ndarray:
    """What each workload adds to the mean that is the score, max(0, 4 - r) / 3; same shape."""
    return np.maximum(0.0, MAX_RATIO - ratios) / (MAX_RATIO - 1.0)


def benchmark_scores(ratios: np.ndarray) -> np.ndarray:
    """The area under each profile on [1, 4], divided by its width 3; shape (submissions,).

    The profile is a step function, so the integral is exact: a workload with ratio r adds
    max(0, 4 - r) / 3 to the mean. The sum is rounded once, so that equal sets of ratios have equal
    scores whatever the order of the workloads.
    """
    return np.array([math.fsum(row) / len(row) for row in workload_credits(ratios).tolist()])


def trapezoid_scores(ratios: np.ndarray) -> np.ndarray:
    """The area as AlgoPerf has it: by the trapezoid rule on 100 points; shape (submissions,).

    One workload is off by at most half a step, 3 / 99 / 2.
    """
    taus = np.linspace(1.0, MAX_RATIO, _NUM_POINTS)
    shares = performance_profile(ratios, taus)
    return np.trapezoid(shares, taus, axis=1) / (MAX_RATIO - 1.0)


def trapezoid_credits(ratios: np.ndarray) -> np.ndarray:
    """What each workload adds to the mean that is the trapezoid score; same shape."""
    return np.stack([trapezoid_scores(column[:, None]) for column in ratios.T], axis=1)
