import math
import random
from pathlib import Path

import numpy as np
import pytest

from finishline.errors import UserError
from finishline.workload import Target
from scoring.score_submissions import score_directory
from scoring.scores import compute_scores

INF = math.inf


def score_by_name(scores):
    return dict(zip(scores.submissions, scores.scores.tolist(), strict=True))


def test_two_submissions(root, add_trial):
    for workload, times in {"digits": (10.0, 20.0), "mnist": (30.0, 10.0)}.items():
        for submission, time in zip("ab", times, strict=True):
            add_trial(submission, workload=workload, time=time)
    scores = compute_scores(root)
    assert scores.submissions == ("b", "a")
    assert scores.workloads == ("digits", "mnist")
    assert scores.ranks == (1, 2)
    np.testing.assert_array_equal(scores.times, [[20.0, 10.0], [10.0, 30.0]])
    np.testing.assert_array_equal(scores.ratios, [[2.0, 1.0], [1.0, 3.0]])
    np.testing.assert_allclose(scores.scores, [(2 / 3 + 1) / 2, (1 + 1 / 3) / 2])


def test_a_single_submission_is_the_best_wherever_it_finishes(root, add_trial):
    add_trial(time=10.0)
    add_trial(workload="mnist", rows=[(10.0, 0.1)])
    assert score_by_name(compute_scores(root)) == {"a": 0.5}


def test_nobody_reaches_a_target(root, add_trial):
    for submission in "ab":
        add_trial(submission, rows=[(10.0, 0.1)])
    scores = compute_scores(root)
    assert score_by_name(scores) == {"a": 0.0, "b": 0.0}
    assert scores.ranks == (1, 1)


def test_equal_scores_share_a_rank(root, add_trial):
    add_trial("slow", workload="u", time=20.0)
    for submission, times in {"a": (10.0, 20.0), "b": (20.0, 10.0)}.items():
        for workload, time in zip("vw", times, strict=True):
            add_trial(submission, workload=workload, time=time)
    scores = compute_scores(root, workloads=["v", "w"])
    assert (scores.submissions, scores.ranks) == (("a", "b", "slow"), (1, 1, 3))


def test_fastest_trial_then_median(root, add_trial):
    for study, times in enumerate([(50.0, 40.0), (10.0, 60.0), (90.0, 80.0)]):
        for trial, time in enumerate(times, start=1):
            add_trial(study=study, trial=trial, time=time)
    scores = compute_scores(root)
    assert scores.times.tolist() == [[40.0]]
    assert scores.hits("a", "digits") == (6, 6)
    assert scores.studies["a", "digits", 2].trial == 2


def test_time_decides_and_not_the_number_of_evaluations(root, add_trial):
    add_trial(trial=1, rows=[(100.0, 0.95)])
    add_trial(trial=2, rows=[(1.0, 0.1), (2.0, 0.2), (99.0, 0.95)])
    assert compute_scores(root).times.tolist() == [[99.0]]


def test_missing_studies_count_as_failed(root, add_trial):
    for study in range(3):
        add_trial("a", study, time=10.0)
    add_trial("b", 0, time=1.0)
    add_trial("c", 0, time=1.0)
    add_trial("c", 2, time=2.0)
    scores = compute_scores(root)
    assert scores.num_studies == 3
    assert dict(zip(scores.submissions, scores.times[:, 0], strict=True)) == {
        "a": 10.0,
        "b": INF,
        "c": 2.0,
    }
    scores = compute_scores(root, num_studies=5)
    assert dict(zip(scores.submissions, scores.times[:, 0], strict=True))["c"] == INF
    with pytest.raises(UserError, match="'a' has 3 studies"):
        compute_scores(root, num_studies=2)


def test_a_workload_that_was_not_run_counts(root, add_trial):
    add_trial("a", time=10.0)
    add_trial("b", time=10.0)
    add_trial("b", workload="mnist", time=10.0)
    assert score_by_name(compute_scores(root)) == {"a": 0.5, "b": 1.0}
    scores = compute_scores(root, workloads=["digits", "mnist", "wmt", "ogbg"])
    assert score_by_name(scores) == {"a": 0.25, "b": 0.5}
    assert any("no log of wmt, ogbg" in problem.reason for problem in scores.problems)


def test_workloads_beyond_the_list_do_not_count(root, add_trial):
    add_trial("a", time=10.0)
    add_trial("a", workload="mnist", rows=[(1.0, 0.1)])
    scores = compute_scores(root, workloads=["digits"])
    assert score_by_name(scores) == {"a": 1.0}
    assert "not scored: mnist" in scores.problems[0].reason


def test_a_damaged_log_leaves_the_others(root, add_trial):
    path = add_trial(trial=1, time=5.0)
    (path / "eval_measurements.csv").write_text("")
    broken_meta = add_trial(trial=2, time=20.0)
    (broken_meta / "meta.json").write_text("{")
    add_trial(trial=3, time=30.0)
    scores = compute_scores(root)
    assert scores.times.tolist() == [[20.0]]
    assert scores.hits("a", "digits") == (2, 3)
    assert {problem.path for problem in scores.problems} == {
        path / "eval_measurements.csv",
        broken_meta / "meta.json",
    }
    assert [(one.trial.path, one.status) for one in scores.failures] == [(path, "unreadable_log")]


def test_given_targets_replace_the_recorded_ones_and_it_is_said(root, add_trial):
    add_trial(rows=[(10.0, 0.5), (20.0, 0.95)])
    target = Target(metric="loss", minimize=True, validation=0.3, test=0.3)
    scores = compute_scores(root, targets={"digits": target})
    assert scores.times.tolist() == [[10.0]]
    assert "accuracy >= 0.9 and is scored against loss <= 0.3" in scores.problems[0].reason


def test_two_frameworks_in_one_entry_are_refused(root, add_trial):
    add_trial("a", 0, framework="jax", time=1.0)
    add_trial("a", 1, framework="pytorch", time=1.0)
    with pytest.raises(UserError, match="both jax and pytorch"):
        compute_scores(root)


@pytest.mark.parametrize("level", ["a", "a/study_0", "nowhere"])
def test_a_wrong_directory_is_refused(root, add_trial, level):
    add_trial(time=1.0)
    with pytest.raises(UserError, match="pass the directory that holds"):
        compute_scores(root / level)


def test_the_listing_order_makes_no_difference(root, add_trial, tmp_path, monkeypatch):
    rng = random.Random(0)
    for submission in "abc":
        for study in range(3):
            for trial in (1, 2, 10):
                time = float(rng.choice([10, 20, 30]))
                add_trial(submission, study, rng.choice(["digits", "mnist"]), trial, time=time)
    (root / "a" / "study_0" / "stray").mkdir()
    list_sorted = Path.iterdir

    def list_shuffled(path):
        paths = list(list_sorted(path))
        rng.shuffle(paths)
        return iter(paths)

    monkeypatch.setattr(Path, "iterdir", list_shuffled)
    outputs = set()
    for run in range(8):
        score_directory(root, tmp_path / str(run))
        files = sorted(list_sorted(tmp_path / str(run)))
        outputs.add(tuple((file.name, file.read_text()) for file in files))
    assert len(outputs) == 1
