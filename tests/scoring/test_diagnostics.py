import copy
import math

import numpy as np
import pytest

from scoring import diagnostics
from scoring.diagnostics import (
    evaluation_period,
    first_step_seconds,
    ledger,
    seconds_per_step,
    step_times,
    time_resolution,
)

TIME = np.array([60.0, 70.0, 90.0, 190.0])
STEP = np.array([1, 11, 31, 131])


def test_step_times_leave_out_the_compilation():
    assert step_times(TIME, STEP) == {"p10": 1.0, "median": 1.0, "p90": 1.0}
    slow = step_times(np.array([0.0, 1.0, 3.0, 6.0]), np.array([0, 1, 2, 3]))
    assert slow == pytest.approx({"p10": 1.2, "median": 2.0, "p90": 2.8})


def test_steps_that_the_log_does_not_tell():
    steps = np.array([1.0, math.nan, 31.0, 131.0, math.inf, math.inf])
    times = np.append(TIME, [200.0, 210.0])
    assert step_times(times, steps) == {"p10": 1.0, "median": 1.0, "p90": 1.0}
    assert first_step_seconds(TIME, np.full(4, math.nan)) is None
    assert first_step_seconds(TIME, np.full(4, math.inf)) is None


def test_no_interval_reaches_from_trial_to_trial():
    time = np.array([1.0, 2.0, math.nan, 900.0, 903.0, math.nan])
    step = np.array([1.0, 2.0, math.nan, 9.0, 10.0, math.nan])
    np.testing.assert_array_equal(seconds_per_step(time, step), [1.0, 3.0])
    assert evaluation_period(time) == 2.0


@pytest.mark.parametrize(
    ("time", "step"), [([], []), ([1.0], [1]), ([1.0, 2.0], [5, 5]), ([2.0, 1.0], [1, 2])]
)
def test_no_interval_is_no_step_time(time, step):
    assert step_times(np.array(time), np.array(step)) is None


def test_first_step():
    assert first_step_seconds(TIME, STEP) == 60.0
    assert first_step_seconds(np.array([60.0, 70.0]), np.array([11, 21])) == 50.0
    assert first_step_seconds(np.array([1.0, 70.0]), np.array([11, 21])) == 0.0
    assert first_step_seconds(np.array([60.0]), np.array([11])) is None
    assert first_step_seconds(np.array([60.0]), np.array([0])) is None
    assert first_step_seconds(np.array([]), np.array([])) is None


def test_evaluation_period_and_resolution():
    assert evaluation_period(TIME) == 20.0
    assert evaluation_period(TIME[:1]) is None
    assert time_resolution(20.0, 200.0) == 0.1
    for period, time in [(None, 1.0), (1.0, None), (1.0, math.inf), (1.0, 0.0), (math.inf, 1.0)]:
        assert time_resolution(period, time) is None


def test_ledger():
    trials = [
        {"submission": 10.0, "evaluation": 1.0, "record_keeping": 0.5, "setup": None},
        {"submission": 20.0, "evaluation": math.nan, "record_keeping": 0.5},
    ]
    sums = {"submission": 30.0, "evaluation": 1.0, "record_keeping": 1.0, "setup": None}
    assert ledger(trials) == sums
    assert ledger([*trials, {"setup": 7.0}]) == {**sums, "setup": 7.0}
    assert ledger([]) == {"submission": 0, "evaluation": 0, "record_keeping": 0, "setup": None}


def document():
    """Three submissions on two workloads, five studies of two trials: nothing to warn of."""
    names, workloads = "abc", ("digits", "wmt")
    return {
        "rules": {"num_studies": 5, "num_trials": 2},
        "submissions": [
            {
                "name": name,
                "rank": rank,
                "leave_one_workload_out": {
                    workload: {"score": 0.5, "rank": rank} for workload in workloads
                },
                "leave_one_submission_out": {
                    other: {"score": 0.5, "rank": rank - (other < name)}
                    for other in names
                    if other != name
                },
            }
            for rank, name in enumerate(names, start=1)
        ],
        "results": [
            {
                "submission": name,
                "workload": workload,
                "time": 1000.0,
                "time_resolution": 0.02,
                "studies_run": 5,
            }
            for name in names
            for workload in workloads
        ],
        "studies": [
            {"submission": name, "workload": workload, "study": f"study_{k}", "trials_run": 2}
            for name in names
            for workload in workloads
            for k in range(5)
        ],
    }


def only_warning(changed):
    (found,) = diagnostics.warnings(changed)
    return found["kind"], found["text"]


def test_nothing_to_warn_of():
    before = document()
    after = copy.deepcopy(before)
    assert diagnostics.warnings(after) == []
    assert after == before


def test_leaving_out_is_optional():
    changed = document()
    changed["submissions"][0]["leave_one_workload_out"] = {}
    changed["submissions"][1]["leave_one_submission_out"] = {"a": {"score": None, "rank": None}}
    assert diagnostics.warnings(changed) == []


def test_a_rank_that_depends_on_a_workload():
    changed = document()
    first, second, _ = changed["submissions"]
    first["leave_one_workload_out"]["wmt"]["rank"] = 2
    second["leave_one_workload_out"]["wmt"]["rank"] = 1
    kind, text = only_warning(changed)
    assert kind == "rank_depends_on_workload"
    assert "Without the workload wmt" in text
    assert "a 1 → 2, b 2 → 1." in text


def test_a_rank_that_depends_on_a_submission():
    changed = document()
    first, second, _ = changed["submissions"]
    first["leave_one_submission_out"]["c"]["rank"] = 2
    second["leave_one_submission_out"]["c"]["rank"] = 1
    kind, text = only_warning(changed)
    assert kind == "rank_depends_on_submission"
    assert "Without the submission c" in text
    assert "a 1 → 2, b 2 → 1." in text


def test_coarse_times():
    changed = document()
    for row in changed["results"]:
        if row["workload"] == "wmt":
            row.update(time=100.0, time_resolution=0.2)
    kind, text = only_warning(changed)
    assert kind == "time_resolution"
    assert "wmt" in text
    assert "a 20%, b 20%, c 20%" in text


def test_times_that_are_not_there_are_no_warning():
    changed = document()
    changed["results"][0].update(time=None, time_resolution=None)
    assert diagnostics.warnings(changed) == []


def test_another_evaluation_period():
    changed = document()
    changed["results"][0].update(time=7208.0, time_resolution=0.0833)
    changed["results"][2].update(time=6000.0, time_resolution=0.01)
    changed["results"][4].update(time=6100.0, time_resolution=0.01)
    kind, text = only_warning(changed)
    assert kind == "evaluation_period"
    assert "digits: a every 600 s and not every 60 s" in text


def test_two_evaluation_periods_without_a_usual_one():
    changed = document()
    changed["results"] = changed["results"][:1] + changed["results"][2:3]
    changed["results"][0].update(time_resolution=0.09)
    kind, text = only_warning(changed)
    assert kind == "evaluation_period"
    assert "a every 90 s, b every 20 s." in text


def test_missing_studies_and_trials():
    changed = document()
    changed["results"][1]["studies_run"] = 3
    assert only_warning(changed) == (
        "studies",
        "a has fewer studies than the 5 of the rules on wmt (3).",
    )
    changed = document()
    changed["studies"][0]["trials_run"] = 1
    changed["studies"][1]["trials_run"] = 6
    fewer, more = diagnostics.warnings(changed)
    assert fewer["text"] == "a has fewer trials than the 2 of the rules in digits study_0 (1)."
    assert more["text"] == "a has more trials than the 2 of the rules in digits study_1 (6)."
    changed["rules"]["num_trials"] = None
    assert diagnostics.warnings(changed) == []


def test_long_lists_are_cut():
    changed = document()
    for row in changed["studies"]:
        row["trials_run"] = 1
    first, *_ = diagnostics.warnings(changed)
    assert first["text"].endswith(", and 2 more.")
