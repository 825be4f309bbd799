import math
import os
import random

import numpy as np
import pytest

from finishline.errors import UserError
from finishline.workload import Target
from scoring import document
from scoring.rules import AS_PUBLISHED
from scoring.score_submissions import score_directory
from scoring.scores import Options, compute_scores
from scoring.versions import Benchmark

INF = math.inf


def compute(root, **options):
    return document.build(root, Options(**options))[0]


def score_by_name(scores):
    return {one["name"]: one["score"] for one in scores["submissions"]}


def times(scores, field="time"):
    """By submission and workload."""
    return {(one["submission"], one["workload"]): one[field] for one in scores["results"]}


def reasons(scores):
    return {one["path"]: one["reason"] for one in scores["problems"]}


def test_two_submissions(root, add_trial):
    for workload, seconds in {"digits": (10.0, 20.0), "mnist": (30.0, 10.0)}.items():
        for submission, time in zip("ab", seconds, strict=True):
            add_trial(submission, workload=workload, time=time)
    scores = compute(root)
    assert [(one["name"], one["rank"]) for one in scores["submissions"]] == [("b", 1), ("a", 2)]
    assert times(scores) == {
        ("a", "digits"): 10.0,
        ("a", "mnist"): 30.0,
        ("b", "digits"): 20.0,
        ("b", "mnist"): 10.0,
    }
    assert times(scores, "ratio")["a", "mnist"] == 3.0
    np.testing.assert_allclose(
        [one["score"] for one in scores["submissions"]], [(2 / 3 + 1) / 2, (1 + 1 / 3) / 2]
    )


def test_a_single_submission_is_the_best_wherever_it_finishes(root, add_trial):
    add_trial(time=10.0)
    add_trial(workload="mnist", rows=[(10.0, 0.1)])
    assert score_by_name(compute(root)) == {"a": 0.5}


def test_nobody_reaches_a_target(root, add_trial):
    for submission in "ab":
        add_trial(submission, rows=[(10.0, 0.1)])
    scores = compute(root)
    assert score_by_name(scores) == {"a": 0.0, "b": 0.0}
    assert [one["rank"] for one in scores["submissions"]] == [1, 1]


def test_equal_scores_share_a_rank(root, add_trial):
    add_trial("slow", workload="u", time=20.0)
    for submission, seconds in {"a": (10.0, 20.0), "b": (20.0, 10.0)}.items():
        for workload, time in zip("vw", seconds, strict=True):
            add_trial(submission, workload=workload, time=time)
    scores = compute(root, workloads=["v", "w"])
    ranks = [(one["name"], one["rank"]) for one in scores["submissions"]]
    assert ranks == [("a", 1), ("b", 1), ("slow", 3)]


def test_fastest_trial_then_median(root, add_trial):
    for study, seconds in enumerate([(50.0, 40.0), (10.0, 60.0), (90.0, 80.0)]):
        for trial, time in enumerate(seconds, start=1):
            add_trial(study=study, trial=trial, time=time)
    scores = compute(root)
    (result,) = scores["results"]
    assert result["time"] == 40.0
    assert (result["trials_reached"], result["trials_run"]) == (6, 6)
    assert [one["trial"] for one in scores["studies"]] == [2, 1, 2]


def test_time_decides_and_not_the_number_of_evaluations(root, add_trial):
    add_trial(trial=1, rows=[(100.0, 0.95)])
    add_trial(trial=2, rows=[(1.0, 0.1), (2.0, 0.2), (99.0, 0.95)])
    assert times(compute(root)) == {("a", "digits"): 99.0}
    scores = compute(root, rules=AS_PUBLISHED)
    assert times(scores) == {("a", "digits"): 100.0}
    assert "100.0 s by the published rules → 99.0 s" in scores["rules"]["differences"][0]


def test_missing_studies_count_as_failed(root, add_trial):
    for study in range(3):
        add_trial("a", study, time=10.0)
    add_trial("b", 0, time=1.0)
    add_trial("c", 0, time=1.0)
    add_trial("c", 2, time=2.0)
    scores = compute(root)
    assert scores["rules"]["num_studies"] == 3
    expected = {("a", "digits"): 10.0, ("b", "digits"): None, ("c", "digits"): 2.0}
    assert times(scores) == expected
    assert "1 of 3 studies are there" in scores["rules"]["differences"][0]
    assert times(compute(root, rules=AS_PUBLISHED))["b", "digits"] == 1.0
    assert times(compute(root, num_studies=5))["c", "digits"] is None


def test_studies_beyond_the_number_do_not_count(root, add_trial):
    for study in (2, 10, 1):
        add_trial("a", study, time=10.0 * study)
    scores = compute(root, num_studies=2)
    assert times(scores) == {("a", "digits"): 15.0}
    assert "3 studies instead of 2" in reasons(scores)["a/study_10"]


def test_a_workload_that_was_not_run_counts(root, add_trial):
    add_trial("a", time=10.0)
    add_trial("b", time=10.0)
    add_trial("b", workload="mnist", time=10.0)
    assert score_by_name(compute(root)) == {"a": 0.5, "b": 1.0}
    scores = compute(root, workloads=["digits", "mnist", "wmt", "ogbg"])
    assert score_by_name(scores) == {"a": 0.25, "b": 0.5}
    assert "no log of wmt, ogbg" in reasons(scores)["."]


def test_workloads_beyond_the_list_do_not_count(root, add_trial):
    add_trial("a", time=10.0)
    add_trial("a", workload="mnist", rows=[(1.0, 0.1)])
    scores = compute(root, workloads=["digits"])
    assert score_by_name(scores) == {"a": 1.0}
    assert "not scored: mnist" in reasons(scores)["."]


def test_a_damaged_log_leaves_the_others(root, add_trial):
    path = add_trial(trial=1, time=5.0)
    (path / "eval_measurements.csv").write_text("")
    broken_meta = add_trial(trial=2, time=20.0)
    (broken_meta / "meta.json").write_text("{")
    add_trial(trial=3, time=30.0)
    scores = compute(root)
    assert times(scores) == {("a", "digits"): 20.0}
    assert (times(scores, "trials_reached"), times(scores, "trials_run")) == (
        {("a", "digits"): 2},
        {("a", "digits"): 3},
    )
    assert set(reasons(scores)) == {
        str((path / "eval_measurements.csv").relative_to(root)),
        str((broken_meta / "meta.json").relative_to(root)),
    }
    assert scores["trials"][0]["status"] == "unreadable_log"
    assert scores["submissions"][0]["statuses"] == {"target_reached": 2, "unreadable_log": 1}


def test_given_targets_replace_the_recorded_ones_and_it_is_said(root, add_trial):
    add_trial(rows=[(10.0, 0.5), (20.0, 0.95)])
    target = Target(metric="loss", minimize=True, validation=0.3, test=0.3)
    scores = compute(
        root, benchmark=Benchmark(targets={"digits": target}, base_workloads=("digits",))
    )
    assert times(scores) == {("a", "digits"): 10.0}
    assert "accuracy >= 0.9 and is scored against loss <= 0.3" in scores["problems"][0]["reason"]


def test_trials_that_ran_against_another_target_are_named(root, add_trial):
    for study in range(2):
        add_trial("a", study, time=10.0)
        other = {"metric": "accuracy", "minimize": False, "validation": 0.5}
        add_trial("b", study, time=10.0, target=other if study else None)
    scores = compute(root)
    assert score_by_name(scores) == {"a": 1.0, "b": 1.0}
    assert "ran against accuracy >= 0.5" in reasons(scores)["b/study_1/digits_jax/trial_1"]


def test_two_frameworks_in_one_entry_are_a_problem_of_the_entry(root, add_trial):
    add_trial("a", 0, framework="jax", time=1.0)
    add_trial("a", 1, framework="pytorch", time=1.0)
    add_trial("a", 0, "mnist", time=1.0)
    add_trial("b", 0, framework="jax", time=1.0)
    add_trial("b", 1, framework="jax", time=1.0)
    add_trial("b", 1, framework="pytorch", rows=None)  # an empty directory is no log
    scores = compute(root)
    assert score_by_name(scores) == {"a": 0.0, "b": 0.5}
    assert "both jax and pytorch" in reasons(scores)["a"]
    assert scores["submissions"][1]["statuses"]["ambiguous"] == 2


def test_held_out_workloads(root, add_trial):
    target = Target(metric="accuracy", minimize=False, validation=0.9, test=0.9)
    names = ("digits", "mnist", "digits_var")
    benchmark = Benchmark(
        targets=dict.fromkeys(names, target),
        base_workloads=names[:2],
        held_out={"digits_var": "digits"},
    )
    seconds = {"a": (10.0, 10.0, 41.0), "b": (10.0, 20.0, 10.0), "c": (10.0, 50.0, None)}
    for submission, row in seconds.items():
        for workload, time in zip(names, row, strict=True):
            add_trial(submission, workload=workload, time=time)
    scores = compute(root, benchmark=benchmark)
    assert score_by_name(scores) == pytest.approx({"a": 0.5, "b": (1 + 2 / 3) / 2, "c": 0.0})
    filtered = {key: text for key, text in times(scores, "filtered").items() if text}
    assert filtered == {
        ("a", "digits"): "the held-out digits_var took more than 4 times the best time",
        ("a", "digits_var"): "more than 4 times the best time",
        ("c", "digits"): "the held-out digits_var missed its target or was not run",
        ("c", "mnist"): "more than 4 times the best time",
    }
    assert [one["role"] for one in scores["workloads"]] == ["base", "held_out", "base"]


def test_chosen_submissions(root, add_trial):
    for submission, time in zip("abc", (10.0, 20.0, 30.0), strict=True):
        add_trial(submission, time=time)
    (root / "b" / "odd").mkdir()
    assert score_by_name(compute(root, include=["b", "c"])) == pytest.approx({"b": 1, "c": 5 / 6})
    scores = compute(root, exclude=["b"], reference="a")
    assert score_by_name(scores) == pytest.approx({"a": 1, "c": 1 / 3})
    assert [one["speedup"] for one in scores["submissions"]] == pytest.approx([1, 1 / 3])
    assert scores["problems"] == []
    with pytest.raises(UserError, match="no submission 'd'"):
        compute(root, include=["d"])
    with pytest.raises(UserError, match="reference 'b'"):
        compute(root, exclude=["b"], reference="b")


@pytest.mark.parametrize("level", ["a", "a/study_0", "nowhere"])
def test_a_wrong_directory_is_refused(root, add_trial, level):
    add_trial(time=1.0)
    with pytest.raises(UserError, match="pass the directory that holds"):
        compute_scores(root / level, Options())


def test_the_listing_order_makes_no_difference(root, add_trial, tmp_path, monkeypatch):
    rng = random.Random(0)
    for submission in "abc":
        for study in range(3):
            for trial in (1, 2, 10):
                time = float(rng.choice([10, 20, 30]))
                add_trial(submission, study, rng.choice(["digits", "mnist"]), trial, time=time)
    (root / "a" / "study_0" / "stray").mkdir()
    list_sorted = os.scandir

    class Shuffled:
        def __init__(self, path):
            with list_sorted(path) as entries:
                self.entries = list(entries)
            rng.shuffle(self.entries)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *error):
            pass

    monkeypatch.setattr("scoring.logs.os.scandir", Shuffled)
    outputs = set()
    for run in range(8):
        score_directory(root, tmp_path / str(run), Options(bootstrap=10), html=False)
        files = sorted((tmp_path / str(run)).glob("[!.]*"))
        outputs.add(tuple((file.name, file.read_text()) for file in files))
    assert len(outputs) == 1
