"""Properties that hold for every table of times, tried on tables that hypothesis makes up.

Those of the score hold by both sets of rules, with and without a held-out workload.
"""

import math

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finishline.workload import Target
from scoring.profiles import (
    MAX_RATIO,
    benchmark_scores,
    performance_profile,
    performance_ratios,
    profile_steps,
)
from scoring.rules import AS_PUBLISHED, DEFAULT, Rules, Scorer
from scoring.statistics import (
    bootstrap,
    competition_ranks,
    leave_one_submission_out,
    leave_one_workload_out,
    speedups,
)
from scoring.times import hits, time_to_target

INF = math.inf

# The machine may be busy, and a test that fails once in a while helps nobody.
steady = settings(deadline=None, derandomize=True, database=None)

# Few different times make ties and ratios of exactly 4 common; the others are anything.
seconds = st.one_of(
    st.sampled_from([1.0, 2.0, 3.0, 4.0, 8.0]),
    st.floats(1e-3, 1e7),
    st.just(INF),
)


def tables(min_submissions=1, axes=2):
    """Times with infinities, shape (submissions, workloads) or (..., studies)."""
    sides = [st.integers(min_submissions, 5), st.integers(1, 4), st.integers(1, 4)]
    return arrays.arrays(float, st.tuples(*sides[:axes]), elements=seconds)


def score(times):
    return benchmark_scores(performance_ratios(times))


def scoring(rules: Rules, has_held_out: bool):
    """The score as a function of times; the last workload is the first one's held-out variant."""

    def score_all(times):
        names = [f"workload_{index}" for index in range(times.shape[1])]
        held_out = {names.pop(): names[0]} if has_held_out and len(names) > 1 else {}
        return Scorer.of(names, held_out, rules).scores(times)

    return score_all


by_all_rules = pytest.mark.parametrize(
    "score",
    [scoring(rules, has) for rules in (DEFAULT, AS_PUBLISHED) for has in (False, True)],
    ids=["default", "default, held out", "published", "published, held out"],
)


def add(times, row):
    return np.concatenate([times, row[None]])


@by_all_rules
@steady
@given(tables())
def test_scores_are_shares(score, times):
    scores = score(times)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (scores[np.isinf(times).all(axis=1)] == 0).all()


@by_all_rules
@steady
@given(tables(), st.data())
def test_nan_is_no_time(score, times, data):
    is_hidden = data.draw(arrays.arrays(bool, times.shape))
    missing, missed = (np.where(is_hidden, value, times) for value in (math.nan, INF))
    np.testing.assert_array_equal(score(missing), score(missed))


@by_all_rules
@steady
@given(tables(), st.data())
def test_never_slower_never_scores_lower(score, times, data):
    slow = times[data.draw(st.integers(0, len(times) - 1))]
    fast = np.minimum(slow, data.draw(arrays.arrays(float, slow.shape, elements=seconds)))
    scores = score(add(add(times, slow), fast))
    assert scores[-1] >= scores[-2]
    assert score(add(times, fast))[-1] >= score(add(times, slow))[-1]


@by_all_rules
@steady
@given(tables(), st.integers(0, 3), st.integers(-20, 20))
def test_another_unit_of_time_changes_nothing(score, times, workload, exponent):
    """A power of two is an exact factor, so that not even the last digit may differ."""
    scaled = times.copy()
    scaled[:, workload % times.shape[1]] *= 2.0**exponent
    np.testing.assert_array_equal(score(scaled), score(times))


@steady
@given(tables(), st.integers(0, 3), st.floats(1e-3, 1e3))
def test_a_faster_machine_changes_nothing(times, workload, factor):
    scaled = times.copy()
    scaled[:, workload % times.shape[1]] *= factor
    np.testing.assert_allclose(score(scaled), score(times), rtol=0, atol=1e-12)


@by_all_rules
@steady
@given(tables(), st.integers(0, 4))
def test_a_copy_changes_no_other_score_and_order(score, times, index):
    copied = add(times, times[index % len(times)])
    scores = score(copied)
    np.testing.assert_array_equal(scores[:-1], score(times))
    np.testing.assert_array_equal(competition_ranks(scores[:-1]), competition_ranks(score(times)))
    assert scores[-1] == scores[index % len(times)]


@steady
@given(tables(), st.randoms(use_true_random=False))
def test_neither_order_of_submissions_nor_of_workloads_matters(times, random):
    rows, columns = (random.sample(range(size), size) for size in times.shape)
    np.testing.assert_array_equal(score(times[rows][:, columns]), score(times)[rows])


@steady
@given(tables())
def test_the_score_is_the_integral_of_the_profile(times):
    ratios = performance_ratios(times)
    num_points = 3_000
    taus = 1.0 + (np.arange(num_points) + 0.5) * (MAX_RATIO - 1.0) / num_points
    numerical = performance_profile(ratios, taus).mean(axis=1)
    np.testing.assert_allclose(benchmark_scores(ratios), numerical, rtol=0, atol=1 / num_points)


@steady
@given(tables())
def test_the_steps_describe_the_profile_exactly(times):
    ratios = performance_ratios(times)
    taus = profile_steps(ratios)
    shares = performance_profile(ratios, taus)
    area = (shares[:, :-1] * np.diff(taus)).sum(axis=1) / (MAX_RATIO - 1.0)
    np.testing.assert_allclose(benchmark_scores(ratios), area, rtol=0, atol=1e-12)
    assert (np.diff(shares, axis=1) >= 0).all()


@steady
@given(
    st.lists(st.floats(allow_infinity=False, width=16)),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False, width=16),
)
def test_nan_never_reaches_a_target(values, minimize, target):
    goal = Target(metric="loss", minimize=minimize, validation=target, test=target)
    time, value = np.arange(float(len(values))), np.array(values, dtype=float)
    is_number = ~np.isnan(value)
    found = time_to_target(time, value, goal)
    assert found == time_to_target(time[is_number], value[is_number], goal)
    met = (at for at, one in enumerate(values) if (one <= target if minimize else one >= target))
    assert found == next(met, INF)


@steady
@given(tables(axes=3), st.integers(0, 2**64))
def test_bootstrap(times, seed):
    result = bootstrap(times, score, samples=20, seed=seed)
    assert ((result.scores >= 0) & (result.scores <= 1)).all()
    np.testing.assert_allclose(result.rank_probabilities().sum(axis=1), 1.0)
    low, high = result.score_interval(0.95).T
    assert (low <= high).all()
    again = bootstrap(times, score, samples=20, seed=seed)
    np.testing.assert_array_equal(result.scores, again.scores)


@steady
@given(tables(axes=2), st.integers(1, 5))
def test_bootstrap_of_identical_studies_is_the_score(times, num_studies):
    result = bootstrap(np.stack([times] * num_studies, axis=2), score, samples=5, seed=0)
    expected = np.repeat(score(times)[:, None], 2, axis=1)
    np.testing.assert_array_equal(result.score_interval(0.95), expected)
    ranks = competition_ranks(score(times))
    np.testing.assert_array_equal(result.rank_probabilities(), np.eye(len(times))[ranks - 1])


@steady
@given(tables(axes=3), st.randoms(use_true_random=False))
def test_bootstrap_does_not_depend_on_the_order(times, random):
    """Submissions with equal times have draws of their own, which change hands."""
    rows = random.sample(range(len(times)), len(times))
    one, other = (bootstrap(table, score, samples=20, seed=3) for table in (times, times[rows]))
    are_different = len(np.unique(np.sort(times, axis=2), axis=0)) == len(times)
    expected, found = one.scores[:, rows], other.scores
    if not are_different:
        expected, found = np.sort(expected, axis=1), np.sort(found, axis=1)
    np.testing.assert_array_equal(found, expected)


@steady
@given(tables(axes=3), st.integers(1, 3))
def test_bootstrap_does_not_depend_on_who_else_is_there(times, more):
    medians = []
    for table in (times, np.concatenate([times, times[:more] + 1.0])):
        seen = []
        bootstrap(table, lambda one, seen=seen: seen.append(one) or one[:, 0], samples=5, seed=0)
        medians.append(np.array(seen)[:, : len(times)])
    np.testing.assert_array_equal(*medians)


@steady
@given(tables(min_submissions=2))
def test_leaving_out_is_scoring_the_rest(times):
    scores = leave_one_submission_out(times, score)
    for index, row in enumerate(scores):
        np.testing.assert_array_equal(np.delete(row, index), score(np.delete(times, index, 0)))
        assert math.isnan(row[index])
    if times.shape[1] > 1:
        without = leave_one_workload_out(times, lambda table, kept: score(table[:, kept]))
        # The score is a mean over the workloads, so it is the mean of those without one of them.
        np.testing.assert_allclose(without.mean(axis=0), score(times), rtol=0, atol=1e-12)


@steady
@given(tables(), st.floats(1.0, 3.0), st.data())
def test_speedups(times, factor, data):
    reference = data.draw(st.integers(0, len(times) - 1))
    budgets = np.full(times.shape[1], 1e4)
    found = speedups(times, reference, budgets, factor)
    assert found[reference] == 1.0
    back = [speedups(times, index, budgets, factor)[reference] for index in range(len(times))]
    np.testing.assert_allclose(found * back, 1.0)


@steady
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1))
def test_competition_ranks(scores):
    ranks = competition_ranks(np.array(scores)).tolist()
    assert ranks == [1 + sum(other > own for other in scores) for own in scores]
    assert min(ranks) == 1


@pytest.mark.parametrize("minimize", [True, False])
def test_nan_meets_no_target_of_any_direction(minimize):
    goal = Target(metric="loss", minimize=minimize, validation=0.0, test=0.0)
    assert not goal.is_met(math.nan)
    assert not hits(np.array([math.nan]), goal).any()
