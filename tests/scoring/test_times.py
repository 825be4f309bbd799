import itertools
import math

import numpy as np
import pytest

from finishline.workload import Target
from scoring.logs import Meta, find_logs
from scoring.times import StudyResult, TrialResult, judge_trial, median_times, time_to_target

MAXIMIZE = Target(metric="accuracy", minimize=False, validation=0.9, test=0.8)
MINIMIZE = Target(metric="loss", minimize=True, validation=0.5, test=0.6)
INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("target", "values", "expected"),
    [
        (MAXIMIZE, [0.1, 0.95, 0.99], 20.0),
        (MAXIMIZE, [0.1, 0.9], 20.0),  # equality
        (MAXIMIZE, [0.1, 0.8999999], INF),
        (MAXIMIZE, [0.95, 0.1, 0.1], 10.0),  # relapse
        (MAXIMIZE, [NAN, INF, 0.91], 30.0),
        (MAXIMIZE, [NAN, INF, -INF], INF),
        (MINIMIZE, [0.9, 0.4, 0.3], 20.0),
        (MINIMIZE, [0.5], 10.0),
        (MINIMIZE, [0.5000001], INF),
        (MINIMIZE, [-INF, NAN, 0.1], 30.0),
        (MINIMIZE, [], INF),
    ],
)
def test_time_is_that_of_the_first_hit(target, values, expected):
    rows = [(10.0 * (index + 1), value) for index, value in enumerate(values)]
    assert time_to_target(rows, target) == expected


def judge(root, meta):
    (trial,) = find_logs(root).trials
    return judge_trial(trial, meta, MAXIMIZE)


@pytest.mark.parametrize(
    ("status", "rows", "time", "failed", "problems"),
    [
        ("target_reached", [(5.0, 0.95)], 5.0, False, 0),
        ("budget_spent", [(5.0, 0.1)], INF, False, 0),
        ("training_complete", [(5.0, 0.1)], INF, False, 0),
        ("budget_spent", None, INF, False, 0),
        ("submission_error", None, INF, True, 0),
        ("infrastructure_error", [(5.0, 0.1)], INF, True, 0),
        ("interrupted", [(5.0, 0.1)], INF, True, 0),
        ("rule_violation", [(5.0, 0.95)], INF, True, 0),
        ("unfinished", [(5.0, 0.1)], INF, True, 0),
        ("target_reached", [(5.0, 0.1)], INF, False, 1),
        ("budget_spent", [(5.0, 0.95)], 5.0, False, 1),
    ],
)
def test_status_from_the_record(root, add_trial, status, rows, time, failed, problems):
    add_trial(rows=rows)
    result, found = judge(root, Meta(status, "why", None))
    assert (result.time, result.status, result.message) == (time, status, "why")
    assert result.is_failed == failed
    assert len(found) == problems


@pytest.mark.parametrize(
    ("rows", "status", "failed"),
    [
        ([(5.0, 0.95)], "target_reached", False),
        ([(5.0, 0.1)], "target_missed", False),
        ([], "no_evaluation", True),
        (None, "no_evaluation", True),
    ],
)
def test_status_without_a_record(root, add_trial, rows, status, failed):
    add_trial(rows=rows)
    result, problems = judge(root, None)
    assert (result.status, result.is_failed, problems) == (status, failed, [])


@pytest.mark.parametrize(
    ("meta", "status"),
    [
        (None, "unreadable_log"),
        (Meta("target_reached", "", None), "unreadable_log"),
        (Meta("submission_error", "boom", None), "submission_error"),
    ],
)
def test_a_damaged_log_is_no_hit_and_a_problem(root, add_trial, meta, status):
    path = add_trial(rows=[(5.0, 0.95), ("x", 0.95)])
    result, (problem,) = judge(root, meta)
    assert (result.time, result.status, result.is_failed) == (INF, status, True)
    assert problem.path == path / "eval_measurements.csv"


def test_the_fastest_trial_counts_in_any_order(root, add_trial):
    for number, time in enumerate([30.0, None, 20.0, 20.0], start=1):
        add_trial(trial=number, time=time)
    trials = find_logs(root).trials
    results = [
        TrialResult(trial, time, "", "")
        for trial, time in zip(trials, [30.0, INF, 20.0, 20.0], strict=True)
    ]
    for order in itertools.permutations(results):
        study = StudyResult()
        for result in order:
            study = study.with_trial(result)
        assert study == StudyResult(time=20.0, trial=3, num_reached=3, num_run=4)


@pytest.mark.parametrize(
    ("times", "num_studies", "expected"),
    [
        ([10.0, 30.0, 20.0], 3, 20.0),
        ([10.0, INF, 20.0], 3, 20.0),
        ([INF, INF, 20.0], 3, INF),
        ([10.0, 20.0], 2, 15.0),
        ([10.0, INF], 2, INF),
        ([10.0, 20.0], 3, 20.0),  # one is missing
        ([10.0], 3, INF),
        ([], 3, INF),
        ([10.0], 1, 10.0),
    ],
)
def test_median_over_studies(times, num_studies, expected):
    studies = {("a", "w", study): StudyResult(time=time) for study, time in enumerate(times)}
    studies["b", "w", 0] = StudyResult(time=1.0)
    medians = median_times(studies, ["a"], ["w"], num_studies)
    np.testing.assert_array_equal(medians, [[expected]])
