import math

import numpy as np
import pytest

from scoring.profiles import (
    benchmark_scores,
    performance_profile,
    performance_ratios,
    profile_steps,
)

INF = math.inf


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([[10.0], [20.0]], [[1.0], [2.0]]),
        ([[10.0, 8.0], [20.0, 4.0]], [[1.0, 2.0], [2.0, 1.0]]),
        ([[10.0], [INF]], [[1.0], [INF]]),
        ([[INF], [INF]], [[INF], [INF]]),
        ([[7.0, INF]], [[1.0, INF]]),
        ([[0.0], [5.0]], [[1.0], [INF]]),
    ],
)
def test_ratios(times, expected):
    np.testing.assert_array_equal(performance_ratios(np.array(times)), expected)


@pytest.mark.parametrize(
    ("ratios", "expected"),
    [
        ([1.0, 1.0], 1.0),
        ([1.0, INF], 0.5),
        ([2.5], 0.5),
        ([4.0], 0.0),
        ([4.1], 0.0),
        ([INF, INF], 0.0),
        ([1.0, 2.5, 3.0, INF], (1 + 0.5 + 1 / 3) / 4),
    ],
)
def test_scores(ratios, expected):
    assert benchmark_scores(np.array([ratios]))[0] == pytest.approx(expected, abs=1e-15)


def test_scores_are_the_integral_of_the_profiles():
    ratios = np.random.default_rng(0).uniform(1, 5, size=(4, 7))
    steps = profile_steps(ratios)
    shares = performance_profile(ratios, steps)
    integral = (shares[:, :-1] * np.diff(steps)).sum(axis=1) / 3
    np.testing.assert_allclose(benchmark_scores(ratios), integral, atol=1e-14)


def test_scores_do_not_depend_on_the_order_of_workloads():
    rng = np.random.default_rng(1)
    ratios = rng.uniform(1, 4, size=(1, 9))
    scores = {benchmark_scores(rng.permuted(ratios, axis=1))[0] for _ in range(50)}
    assert len(scores) == 1


def test_profile_counts_equality():
    ratios = np.array([[1.0, 2.0, INF], [1.5, 1.0, 4.0]])
    np.testing.assert_array_equal(profile_steps(ratios), [1.0, 1.5, 2.0, 4.0])
    np.testing.assert_allclose(
        performance_profile(ratios, profile_steps(ratios)) * 3,
        [[1, 1, 2, 2], [1, 2, 2, 3]],
    )
