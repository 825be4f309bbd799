import math

import numpy as np
import pytest

from finishline.workload import Target
from scoring.cache import Cache
from scoring.evaluations import Evaluations, LogError
from scoring.logs import Meta, find_logs, read_bytes
from scoring.times import judge_trial, time_to_target

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
    times = 10.0 * (1 + np.arange(len(values)))
    assert time_to_target(times, np.array(values), target) == expected


def judge(root, meta):
    (trial,) = find_logs(root).trials
    data = read_bytes(f"{root}/{trial.path}/eval_measurements.csv")
    log, sha256 = None, None
    if data is not None:
        try:
            table, sha256 = Cache(None).table(data, "accuracy")
            log = Evaluations.from_table(table)
        except LogError as error:
            log = error
    return judge_trial(trial, meta, log, MAXIMIZE, sha256=sha256)


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
        ("infrastructure_error", [(5.0, 0.95)], INF, True, 1),
        ("running", [(5.0, 0.95)], INF, True, 1),
        ("unfinished", [(5.0, 0.1)], INF, True, 0),
        ("target_reached", [(5.0, 0.1)], INF, False, 1),
        ("budget_spent", [(5.0, 0.95)], 5.0, False, 1),
    ],
)
def test_status_from_the_record(root, add_trial, status, rows, time, failed, problems):
    add_trial(rows=rows)
    result, found = judge(root, Meta(status, "why", None, {}))
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
        (Meta("target_reached", "", None, {}), "unreadable_log"),
        (Meta("submission_error", "boom", None, {}), "submission_error"),
    ],
)
def test_a_damaged_log_is_no_hit_and_a_problem(root, add_trial, meta, status):
    path = add_trial(rows=[(5.0, 0.95), ("x", 0.95)])
    result, (problem,) = judge(root, meta)
    assert (result.time, result.status, result.is_failed) == (INF, status, True)
    assert root / problem.path == path / "eval_measurements.csv"


def test_what_a_log_tells_beside_the_time(root, add_trial):
    add_trial(rows=[(5.0, 0.5), (6.0, math.nan), (7.0, 0.95), (9.0, 0.93)])
    result, _ = judge(root, Meta("target_reached", "", None, {"ledger": {"setup": 3}}))
    assert (result.time, result.published_time, result.published_index) == (7.0, 7.0, 2)
    assert (result.best, result.steps, result.seconds) == (0.95, 7, 9.0)
    assert (result.evaluation, result.setup) == (0.5, 3.0)
    assert math.isnan(result.record_keeping)
    assert len(result.sha256) == 64


def test_the_published_rules_compare_infinite_values_and_know_no_status(root, add_trial):
    add_trial(rows=[(5.0, INF), (6.0, 0.95)])
    result, _ = judge(root, Meta("rule_violation", "", None, {}))
    assert (result.time, result.published_time, result.published_index) == (INF, 5.0, 0)
