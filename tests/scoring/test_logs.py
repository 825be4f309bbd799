import json
import math

import pytest

from scoring.logs import LogError, find_logs, read_evaluations, read_meta


def write_csv(path, text):
    (path / "eval_measurements.csv").write_bytes(text.encode())
    return path


def test_names_of_directories_are_the_identity(root, add_trial):
    path = add_trial("nadamw_jax", 2, "imagenet_vit", 10, framework="pytorch", time=1.0)
    (trial,) = find_logs(root).trials
    assert (trial.submission, trial.study, trial.workload, trial.framework, trial.number) == (
        "nadamw_jax",
        2,
        "imagenet_vit",
        "pytorch",
        10,
    )
    assert trial.path == path


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
    assert len(logs.trials) == 1
    assert [problem.path for problem in logs.problems] == [root / name]


def test_files_hidden_directories_and_the_output_are_passed_over(root, add_trial):
    trial = add_trial(time=1.0)
    (root / "README.md").write_text("x")
    (root / "a" / "study_0" / "digits_jax" / "trial_2").write_text("a file")
    (root / ".git").mkdir()
    (root / "out").mkdir()
    logs = find_logs(root, skip=root / "out")
    assert [one.path for one in logs.trials] == [trial]
    assert logs.problems == ()


def test_a_submission_without_trials_is_still_one(root, add_trial):
    add_trial(time=1.0)
    (root / "b" / "study_0").mkdir(parents=True)
    logs = find_logs(root)
    assert logs.submissions == ("a", "b")
    assert "no trial" in logs.problems[0].reason


def test_columns_are_found_by_name(tmp_path):
    text = "x,validation/wer,accumulated_submission_time\n1,0.5,10\n\n2,,20\n3,nan,30\n4,-inf,40\n"
    evaluations = read_evaluations(write_csv(tmp_path, text), "wer")
    assert [time for time, _ in evaluations] == [10, 20, 30, 40]
    assert evaluations[0][1] == 0.5
    assert math.isnan(evaluations[1][1])
    assert math.isnan(evaluations[2][1])
    assert evaluations[3][1] == -math.inf


GOOD = "accumulated_submission_time,validation/wer\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("accumulated_submission_time,validation/loss\n1,2\n", "0 columns 'validation/wer'"),
        ("score,validation/wer\n1,2\n", "0 columns 'accumulated_submission_time'"),
        ("validation/wer," + GOOD + "1,2,3\n", "2 columns 'validation/wer'"),
        (GOOD + "1,2\n3", "1 cells in row 2"),
        (GOOD + "1,2,3\n", "3 cells in row 1"),
        (GOOD + "1,good\n", "no number in row 1"),
        (GOOD + ",0.1\n", "no number in row 1"),
        (GOOD + "nan,0.1\n", "in row 1"),
        (GOOD + "inf,0.1\n", "in row 1"),
        (GOOD + "-1,0.1\n", "in row 1"),
        (GOOD + "2,0.1\n1,0.1\n", "from 2.0 s to 1.0 s in row 2"),
        (GOOD + "\0\0,\0\n", "row 1"),
    ],
)
def test_a_damaged_csv_is_an_error_with_a_reason(tmp_path, text, reason):
    with pytest.raises(LogError, match=reason.replace("(", r"\(")):
        read_evaluations(write_csv(tmp_path, text), "wer")


def test_bytes_that_are_no_text_are_an_error(tmp_path):
    (tmp_path / "eval_measurements.csv").write_bytes(b"\xff\xfe\x80" * 100)
    with pytest.raises(LogError, match="cannot be read"):
        read_evaluations(tmp_path, "wer")


@pytest.mark.parametrize("text", [None, GOOD])
def test_no_file_and_no_row_are_no_evaluation(tmp_path, text):
    if text is not None:
        write_csv(tmp_path, text)
    assert read_evaluations(tmp_path, "wer") == []


def test_meta(tmp_path):
    assert read_meta(tmp_path) is None
    target = {"metric": "wer", "minimize": True, "validation": 0.1}
    content = {"status": "budget_spent", "message": "too slow", "target": target, "other": 1}
    (tmp_path / "meta.json").write_text(json.dumps(content))
    meta = read_meta(tmp_path)
    assert (meta.status, meta.message) == ("budget_spent", "too slow")
    assert (meta.target.metric, meta.target.minimize, meta.target.validation) == ("wer", True, 0.1)


def test_meta_of_a_trial_that_has_not_ended(tmp_path):
    (tmp_path / "meta.json").write_text('{"status": null}')
    assert read_meta(tmp_path).status == "unfinished"


@pytest.mark.parametrize(
    "text",
    [
        "{",
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
        read_meta(tmp_path)
