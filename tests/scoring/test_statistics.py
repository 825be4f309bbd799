import math
import statistics
import time

import numpy as np
import pytest

from scoring.profiles import benchmark_scores, performance_ratios
from scoring.statistics import (
    bootstrap,
    competition_ranks,
    leave_one_submission_out,
    leave_one_workload_out,
    speedups,
)

INF, NAN = math.inf, math.nan


def score(times):
    return benchmark_scores(performance_ratios(times))


def random_times(seed=0, shape=(11, 14, 5), misses=0.2):
    rng = np.random.default_rng(seed)
    times = rng.uniform(100.0, 500.0, shape)
    times[rng.random(shape) < misses] = INF
    return times


def medians_of(study_times, samples=200, seed=0):
    """The medians that the bootstrap scores, shape (samples, submissions, workloads)."""
    seen = []

    def keep(times):
        seen.append(times.copy())
        return np.zeros(len(times))

    bootstrap(study_times, keep, samples=samples, seed=seed)
    return np.array(seen)


def test_identical_studies_leave_no_doubt():
    times = np.repeat(random_times(shape=(4, 3, 1)), 5, axis=2)
    result = bootstrap(times, score, samples=100, seed=0)
    scores = score(times[:, :, 0])
    np.testing.assert_array_equal(result.score_interval(0.95), np.stack([scores, scores], axis=1))
    ranks = competition_ranks(scores)
    np.testing.assert_array_equal(result.rank_interval(0.95), np.stack([ranks, ranks], axis=1))
    np.testing.assert_array_equal(result.rank_probabilities(), np.eye(4)[ranks - 1])


def test_the_distribution_of_medians():
    """Of three studies a < b < c, the median is a or c with probability 7/27 each."""
    found = medians_of(np.array([[[3.0, 1.0, 2.0]]]), samples=20_000)
    shares = [(found == value).mean() for value in (1.0, 2.0, 3.0)]
    np.testing.assert_allclose(shares, [7 / 27, 13 / 27, 7 / 27], atol=0.02)


@pytest.mark.parametrize("num_studies", [1, 2, 3, 4, 5])
def test_medians_are_medians_of_draws(num_studies):
    times = np.array([[[10.0 * 2**index for index in range(num_studies)]]])
    possible = {
        statistics.median([times[0, 0, low], times[0, 0, high]])
        for low in range(num_studies)
        for high in (range(num_studies) if num_studies % 2 == 0 else [low])
    }
    found = set(medians_of(times, samples=5_000).ravel().tolist())
    assert found == possible


def test_missed_studies_take_part():
    found = medians_of(np.array([[[1.0, INF], [INF, INF]]]), samples=4_000)
    assert (found[:, 0, 0] == 1.0).mean() == pytest.approx(1 / 4, abs=0.03)
    assert np.isinf(found[:, 0, 1]).all()


def test_studies_that_do_not_count_are_not_drawn():
    found = medians_of(np.array([[[5.0, NAN, NAN], [NAN, 1.0, 2.0], [NAN, NAN, NAN]]]))
    assert (found[:, 0, 0] == 5.0).all()
    assert set(found[:, 0, 1].tolist()) == {1.0, 1.5, 2.0}
    assert (found[:, 0, 2] == INF).all()


def test_the_seed_makes_it_reproducible():
    times = random_times()
    one, same, other = (bootstrap(times, score, samples=50, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.scores, same.scores)
    assert (one.scores != other.scores).any()


def test_neither_the_order_of_submissions_nor_of_studies_matters():
    times = random_times()
    rng = np.random.default_rng(1)
    order = rng.permutation(len(times))
    result = bootstrap(times, score, samples=50, seed=0)
    shuffled = rng.permuted(times[order], axis=2)
    np.testing.assert_array_equal(
        bootstrap(shuffled, score, samples=50, seed=0).scores, result.scores[:, order]
    )


def test_another_submission_changes_no_draw():
    times = random_times()
    np.testing.assert_array_equal(medians_of(times[:-1]), medians_of(times)[:, :-1])


def test_a_copy_has_draws_of_its_own():
    times = random_times(shape=(1, 14, 5))
    found = medians_of(np.concatenate([times, times]))
    np.testing.assert_array_equal(found[:, 0], medians_of(times)[:, 0])
    assert (found[:, 0] != found[:, 1]).any()


def test_intervals_and_probabilities():
    result = bootstrap(random_times(), score, samples=400, seed=0)
    narrow, wide = result.score_interval(0.5), result.score_interval(0.95)
    assert (wide[:, 0] <= narrow[:, 0]).all()
    assert (narrow[:, 1] <= wide[:, 1]).all()
    ranks = result.rank_interval(0.95)
    assert ranks.shape == (11, 2)
    assert np.isin(ranks, np.arange(1, 12)).all()
    probabilities = result.rank_probabilities()
    assert probabilities.shape == (11, 11)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    with pytest.raises(ValueError, match="level"):
        result.score_interval(95)


def test_the_percentiles_are_those_of_numpy():
    result = bootstrap(random_times(), score, samples=101, seed=0)
    column = np.sort(result.scores[:, 3])
    np.testing.assert_allclose(result.score_interval(0.9)[3], [column[5], column[95]])


def test_no_submission_and_no_samples():
    result = bootstrap(np.empty((0, 3, 2)), lambda times: np.zeros(len(times)), samples=2, seed=0)
    assert result.score_interval(0.95).shape == (0, 2)
    assert result.rank_probabilities().shape == (0, 0)
    assert np.isinf(medians_of(np.empty((2, 3, 0)))).all()
    with pytest.raises(ValueError, match="0 samples"):
        bootstrap(random_times(), score, samples=0, seed=0)


def test_a_thousand_samples_of_the_largest_published_board_are_quick():
    times = random_times()
    started = time.process_time()
    bootstrap(times, score, samples=1_000, seed=0)
    assert time.process_time() - started < 0.5


def test_competition_ranks():
    ranks = competition_ranks(np.array([[0.5, 0.9, 0.5, 0.1], [0.0, 0.0, NAN, 0.0]]))
    np.testing.assert_array_equal(ranks, [[2, 1, 2, 4], [1, 1, 0, 1]])
    assert competition_ranks(np.array([])).shape == (0,)


def test_leave_one_workload_out():
    times = np.array([[1.0, 4.0, 2.0], [2.0, 1.0, INF]])

    def score_columns(table, kept):
        return score(table[:, kept])

    scores = leave_one_workload_out(times, score_columns)
    np.testing.assert_allclose(scores, [[0.5, 0.5], [1.0, 1 / 3], [0.5, 5 / 6]])
    some = leave_one_workload_out(times, score_columns, columns=[2])
    np.testing.assert_array_equal(some, scores[2:])
    assert np.isnan(leave_one_workload_out(times[:, :1], score_columns)).all()


def test_leave_one_submission_out():
    times = np.array([[1.0], [2.0], [4.0]])
    scores = leave_one_submission_out(times, score)
    np.testing.assert_allclose(
        scores, [[NAN, 1.0, 2 / 3], [1.0, NAN, 0.0], [1.0, 2 / 3, NAN]], atol=1e-15
    )
    np.testing.assert_array_equal(competition_ranks(scores[0]), [0, 1, 2])
    assert np.isnan(leave_one_submission_out(times[:1], score)).all()


def test_speedups():
    times = np.array([[100.0, 400.0], [50.0, 200.0], [INF, 400.0], [INF, INF]])
    budgets = np.array([800.0, 1600.0])
    np.testing.assert_allclose(
        speedups(times, 0, budgets), [1.0, 2.0, 1 / math.sqrt(8), 1 / math.sqrt(32)]
    )
    np.testing.assert_allclose(speedups(times, 0, budgets, 3)[2], 1 / math.sqrt(24))


def test_speedups_without_a_budget():
    times = np.array([[100.0, INF], [50.0, INF], [50.0, 1.0]])
    # Both miss the second target, so its budget does not matter.
    found = speedups(times, 0, np.array([800.0, NAN]))
    np.testing.assert_allclose(found, [1.0, math.sqrt(2), NAN])


@pytest.mark.parametrize("times", [[[NAN], [1.0]], [[0.0], [1.0]], [[], []]])
def test_speedups_that_cannot_be_computed(times):
    table = np.array(times)
    found = speedups(table, 0, np.full(table.shape[1], 10.0))
    assert np.isnan(found).all()
