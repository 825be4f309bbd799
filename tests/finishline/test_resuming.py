"""``--resume`` continues the trial that is there, or says why it cannot; it never changes it."""

import dataclasses
import math
import os
import shutil
from pathlib import Path

import pytest

from finishline.errors import UserError
from finishline.records import RunDirectory
from finishline.resuming import check_continues
from finishline.study import StudyConfig, plan_study
from finishline.workload import find_workload

NADAMW = Path(__file__).resolve().parents[2] / "reference_submissions" / "nadamw"


@pytest.fixture
def config(tmp_path, data_dir):
    shutil.copytree(NADAMW, tmp_path / "nadamw")
    return StudyConfig(
        submission_path=str(tmp_path / "nadamw"),
        framework="jax",
        workload="digits",
        data_dir=data_dir,
        experiment_dir=tmp_path / "experiments",
        experiment_name="first",
        num_tuning_trials=1,
        num_devices=1,
    )


def start(config: StudyConfig) -> Path:
    """Begins the first trial, as far as the record goes."""
    (trial, *_) = plan_study(config)
    run = RunDirectory(trial.run_dir)
    run.record("trial_started", **trial.describe())
    run.close()
    return trial.run_dir


def change_source(config: StudyConfig) -> None:
    path = Path(config.submission_path) / "jax" / "submission.py"
    path.write_text(path.read_text() + "# changed\n")


def change_point(config: StudyConfig) -> None:
    path = Path(config.submission_path) / "tuning_search_space.json"
    path.write_text(path.read_text().replace("0.", "0.1"))


def change_workload(monkeypatch, **changes: object) -> None:
    other = find_workload("digits").variant("digits", **changes)
    monkeypatch.setattr("finishline.study.find_workload", lambda name: other)


FLAGS = {
    "rng_seed": (7, ("--rng_seed 0 instead of 7",)),
    "num_devices": (2, ("--num_devices 1 instead of 2",)),
    "torch_compile": (True, ("--torch_compile False instead of True",)),
    "shard_embeddings": (True, ("--shard_embeddings False instead of True",)),
    "benchmark_version": ("0.5", ("--benchmark_version 1.0 instead of 0.5", "--hardware 4xA100")),
}


@pytest.mark.parametrize("flag", FLAGS)
def test_another_flag_is_told(config, flag):
    value, words = FLAGS[flag]
    run_dir = start(config)
    before = (run_dir / "events.jsonl").read_bytes()
    with pytest.raises(UserError) as raised:
        plan_study(dataclasses.replace(config, resume=True, **{flag: value}))
    for word in (*words, "--overwrite", "--experiment_name", str(run_dir)):
        assert word in str(raised.value)
    assert (run_dir / "events.jsonl").read_bytes() == before
    plan_study(dataclasses.replace(config, overwrite=True, **{flag: value}))


CHANGES = {
    change_source: r"source hash \w+ instead of \w+",
    change_point: r"hyperparameter \w+ 0\.\w+ instead of 0\.1\w+, .* and \d more",
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_submission_is_told(config, change):
    start(config)
    change(config)
    with pytest.raises(UserError, match=CHANGES[change]):
        plan_study(dataclasses.replace(config, resume=True))


WORKLOADS = {
    "max_allowed_runtime_sec": (1.0, "budget in seconds"),
    "step_hint": (3, "step_hint"),
    "eval_period_time_sec": (50.0, "eval_period_time_sec"),
    "dropout_rate": (0.25, "dropout_rate"),
    "matmul_precision": ("high", "matmul_precision"),
}


@pytest.mark.parametrize("name", WORKLOADS)
def test_another_workload_is_told(config, monkeypatch, name):
    start(config)
    value, words = WORKLOADS[name]
    change_workload(monkeypatch, **{name: value})
    with pytest.raises(UserError, match=f"{words} .* instead of {value}"):
        plan_study(dataclasses.replace(config, resume=True))


def test_another_target_is_told(config, monkeypatch):
    start(config)
    target = dataclasses.replace(find_workload("digits").target, validation=0.5)
    change_workload(monkeypatch, target=target)
    with pytest.raises(UserError, match=r"the target's validation .* instead of 0\.5"):
        plan_study(dataclasses.replace(config, resume=True))


def test_other_quirks_are_told(config, monkeypatch):
    start(config)
    change_workload(monkeypatch, quirks=frozenset({"odd"}))
    with pytest.raises(UserError, match=r"the quirks \[\] instead of \['odd'\]"):
        plan_study(dataclasses.replace(config, resume=True))


def test_what_may_differ(config, tmp_path, data_dir):
    run_dir = start(config)
    moved = tmp_path / "moved"
    shutil.copytree(data_dir, moved)
    changed = {"max_global_steps": 5, "save_checkpoints": False, "data_dir": moved}
    (trial,) = plan_study(dataclasses.replace(config, resume=True, **changed))
    assert trial.run_dir == run_dir


def test_a_trial_that_is_there_is_told_before_anything_is_made(config):
    run_dir = start(config)
    more = dataclasses.replace(config, num_tuning_trials=3)
    with pytest.raises(UserError, match="holds a trial already"):
        plan_study(more)
    assert [path.name for path in run_dir.parent.iterdir()] == ["trial_1"]


def test_without_a_name_the_newest_experiment_of_the_study_is_continued(config):
    paths = {}
    for age, name in enumerate(["newer", "older"]):
        paths[name] = start(dataclasses.replace(config, experiment_name=name))
        seconds = paths[name].stat().st_mtime - age * 100
        os.utime(paths[name] / "events.jsonl", (seconds, seconds))
    (config.experiment_dir / "empty").mkdir()
    start(dataclasses.replace(config, experiment_name="other", study=1))
    nameless = dataclasses.replace(config, experiment_name=None, resume=True)
    (trial,) = plan_study(nameless)
    assert trial.run_dir == paths["newer"]
    (trial,) = plan_study(dataclasses.replace(nameless, study=2))
    assert not trial.run_dir.parents[2].exists()  # none is there: a new one


def test_a_trial_without_a_test_target_can_be_continued(config):
    """Not a number, as it was, is not the same as not a number, as it is."""
    (trial, *_) = plan_study(config)
    target = dataclasses.replace(trial.workload.target, test=math.nan)
    trial = dataclasses.replace(trial, workload=trial.workload.variant("digits", target=target))
    run = RunDirectory(trial.run_dir)
    run.record("trial_started", **trial.describe())
    run.close()
    check_continues(trial)
