import json
import os

import pytest

from scoring.logs import LogError, find_logs, read_bytes, read_meta


def test_names_of_directories_are_the_identity(root, add_trial):
    path = add_trial("nadamw_jax", 2, "imagenet_vit", 10, framework="pytorch", time=1.0)
    (trial,) = find_logs(root).trials
    assert (trial.submission, trial.study, trial.workload, trial.framework, trial.number) == (
        "nadamw_jax",
        "study_2",
        "imagenet_vit",
        "pytorch",
        10,
    )
    assert root / trial.path == path
    assert trial.is_regular


def test_trials_are_in_numerical_order(root, add_trial):
    for number in (10, 9, 1):
        add_trial(trial=number, time=1.0)
    assert [trial.number for trial in find_logs(root).trials] == [1, 9, 10]


@pytest.mark.parametrize(
    "name",
    [
        "a/study_0/digits_jax/trial_1_old",
        "a/study_0/digits_jax/trial_01",
        "a/study_0/digits_jax/trial_",
        "a/study_0/digits_jax/xtrial_2",
        "a/study_0/digits_jax/trial_²",
        "a/study_0/trial_1",
        "a/study_0/digits_tensorflow",
        "a/study_0_copy",
        "notes",
    ],
)
def test_other_directories_do_not_count_and_are_named(root, add_trial, name):
    add_trial(time=1.0)
    (root / name).mkdir(parents=True)
    logs = find_logs(root)
    assert sum(trial.is_regular for trial in logs.trials) == 1
    assert [problem.path for problem in logs.problems] == [name]


def test_files_hidden_directories_and_the_output_are_passed_over(root, add_trial):
    trial = add_trial(time=1.0)
    (root / "README.md").write_text("x")
    (root / "a" / "study_0" / "digits_jax" / "trial_2").write_text("a file")
    (root / ".git").mkdir()
    (root / "out").mkdir()
    logs = find_logs(root, skip=root / "out")
    assert [root / one.path for one in logs.trials] == [trial]
    assert logs.problems == ()


def test_a_submission_without_trials_is_still_one(root, add_trial):
    add_trial(time=1.0)
    (root / "b" / "study_0").mkdir(parents=True)
    logs = find_logs(root)
    assert logs.submissions == ("a", "b")
    assert "no trial" in logs.problems[0].reason


def test_meta(tmp_path):
    assert read_meta(str(tmp_path)) is None
    target = {"metric": "wer", "minimize": True, "validation": 0.1}
    content = {"status": "budget_spent", "message": "too slow", "target": target, "other": 1}
    (tmp_path / "meta.json").write_text(json.dumps(content))
    meta = read_meta(str(tmp_path))
    assert (meta.status, meta.message) == ("budget_spent", "too slow")
    assert (meta.target.metric, meta.target.minimize, meta.target.validation) == ("wer", True, 0.1)


def test_meta_of_a_trial_that_has_not_ended(tmp_path):
    (tmp_path / "meta.json").write_text('{"status": null}')
    assert read_meta(str(tmp_path)).status == "unfinished"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "[]",
        '{"target": 3}',
        '{"target": {"metric": "wer"}}',
        '{"target": {"metric": "wer", "minimize": 1, "validation": 0.1}}',
        '{"target": {"metric": "wer", "minimize": true, "validation": NaN}}',
    ],
)
def test_damaged_meta_is_an_error(tmp_path, text):
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(LogError, match="is damaged"):
        read_meta(str(tmp_path))


def test_a_file_that_is_no_log_is_an_error_and_waits_for_nobody(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("loop", tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "loop", "folder", "a\0b", "x" * 300):
        with pytest.raises(LogError, match=r"cannot be read|is no regular file"):
            read_bytes(str(tmp_path / name))
    assert read_bytes(str(tmp_path / "none")) is None
    assert read_bytes(str(tmp_path / "none" / "none")) is None


def test_a_loop_of_symbolic_links_has_an_end(root, add_trial):
    add_trial(time=1.0)
    os.symlink(root, root / "a" / "study_1")
    os.symlink(root / "b", root / "b")
    assert len(find_logs(root).trials) == 1


def test_published_layouts(root, add_trial):
    for path in ("a/any/digits_jax/trial_1", "a/study_0/digits_jax/trial_3_old", "b"):
        (root / path).mkdir(parents=True)
    (root / "README.md").write_text("x")
    add_trial(time=1.0)
    logs = find_logs(root, as_published=True)
    assert logs.submissions == ("a", "b")
    assert [(one.study, one.number, one.is_regular) for one in logs.trials] == [
        ("any", 1, False),
        ("study_0", 1, True),
        ("study_0", 3, False),
    ]
    reasons = {one.path: one.reason for one in logs.problems}
    assert "published rules only" in reasons["a/any"]
    assert "has no trial" in reasons["b"]
    assert "stops AlgoPerf's own scorer" in reasons["README.md"]
