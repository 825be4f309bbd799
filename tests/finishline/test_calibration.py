"""Calibration runs, what is drift, and what becomes of a trial whose machine has drifted."""

import dataclasses
import datetime
import itertools
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finishline import calibration, calibration_work
from finishline.calibration import (
    OnDrift,
    calibrate,
    calibrate_after,
    calibrate_before,
    drift_between,
    least_drift,
    least_noisy,
)
from finishline.errors import InfrastructureError, Status
from finishline.executors import LocalExecutor
from finishline.records import read_events, read_json
from finishline.study import StudyConfig, plan_study, run_study
from scoring.cache import Cache
from scoring.check_logs import check_runs
from scoring.logs import find_logs
from scoring.reading import read_metas, read_trials
from scoring.runs import find_runs

NADAMW = Path(__file__).resolve().parents[2] / "reference_submissions" / "nadamw"


def measured(seconds: float, noise: float = 0.001, device: str = "cpu", **parts: float) -> dict:
    """A calibration of one device."""
    return {
        device: {
            "matmul": 0.4 * seconds,
            "python": 0.6 * seconds,
            "seconds": seconds,
            "cpu_seconds": seconds,
            "noise": noise,
            "repeats": 21,
            **parts,
        }
    }


# -------------------------------------------------------------------------------- the work


def timed(seconds: float) -> dict:
    parts = {"wait": lambda: time.sleep(seconds)}
    return {"cpu": calibration_work.time_parts(parts, lambda: None)}


def test_work_that_has_become_slower_is_drift():
    drift = drift_between(timed(0.002), timed(0.006))
    assert 0.5 < drift.share < 4
    assert drift.parts["cpu/wait"] == pytest.approx(drift.share, rel=0.2)


def test_the_median_ignores_a_few_slow_repeats():
    pauses = itertools.chain([0.1, 0.1], itertools.repeat(0.001))
    found = calibration_work.time_parts({"wait": lambda: time.sleep(next(pauses))}, lambda: None)
    assert found["repeats"] == calibration_work.NUM_REPEATS
    assert found["seconds"] < 0.05


def test_a_slow_machine_does_fewer_repeats(monkeypatch):
    monkeypatch.setattr(calibration_work, "_MAX_SEC", 0.0)
    found = calibration_work.time_parts({"wait": lambda: None}, lambda: None)
    assert found["repeats"] == 7


def test_the_standard_error_of_the_median_is_that_of_normal_values():
    rng = np.random.default_rng(0)
    samples = rng.normal(1.0, 0.1, size=(4000, 21))
    told = statistics.median(calibration_work.standard_error(row.tolist()) for row in samples)
    assert told == pytest.approx(np.std(np.median(samples, axis=1)), rel=0.1)


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_frameworks_do_the_work_for_gpus_on_any_device(framework):
    module = pytest.importorskip(f"finishline.frameworks.{framework}.calibration")
    work = module.matmul(0, size=8)
    assert calibration_work.time_parts({"matmul": work}, work)["seconds"] > 0


def test_a_calibration_runs_in_a_process_of_its_own():
    (device,) = calibrate("jax", 1).items()
    assert device[0] == "cpu"
    assert {"matmul", "memory", "python", "seconds", "noise"} <= device[1].keys()
    total = sum(device[1][part] for part in ("matmul", "memory", "python"))
    assert device[1]["seconds"] == pytest.approx(total, rel=0.5)


@pytest.mark.parametrize("program", ["/bin/false", "/bin/true", "/no/such/program"])
def test_a_calibration_that_fails_says_so(monkeypatch, program):
    monkeypatch.setattr(calibration.sys, "executable", program)
    with pytest.raises(InfrastructureError, match="calibration of the machine failed"):
        calibrate("jax", 1)


def test_other_processes_on_the_processors_are_drift():
    cpus = frozenset({min(os.sched_getaffinity(0))})
    before = calibrate("jax", 1, cpus=cpus)
    code = f"import os\nos.sched_setaffinity(0, {set(cpus)})\nwhile True: pass"
    # Sessions of their own, between which some kernels share the processors evenly.
    others = [
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True) for _ in range(8)
    ]
    try:
        time.sleep(0.5)
        drift = drift_between(before, calibrate("jax", 1, cpus=cpus))
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert drift.share > 0.3
    assert drift.parts["cpu/cpu_seconds"] < drift.share  # they cost time, not processor time


# -------------------------------------------------------------------------------- the decision


@pytest.mark.parametrize(("after", "words"), [(1.02, "2.0% slower"), (0.97, "3.0% quicker")])
def test_a_drift_is_told_in_words(after, words):
    drift = drift_between(measured(1.0), measured(after))
    assert drift.share == pytest.approx(after - 1)
    assert drift.noise == pytest.approx(0.001 * 2**0.5)
    assert words in drift.describe()


def test_the_device_that_has_drifted_most_decides():
    before = measured(1.0) | measured(0.1, device="gpu0") | measured(0.1, device="gpu1")
    after = measured(1.01) | measured(0.1, device="gpu0") | measured(0.09, device="gpu1")
    drift = drift_between(before, after)
    assert (drift.device, drift.share) == ("gpu1", pytest.approx(-0.1))
    assert drift.parts["cpu/matmul"] == pytest.approx(0.01)


def test_a_part_that_is_slower_shows():
    drift = drift_between(measured(1.0), measured(1.0, python=0.9))
    assert drift.share == 0
    assert drift.parts["cpu/python"] == pytest.approx(0.5)


def script(*calibrations: dict):
    """A function that returns one after the other."""
    return iter(calibrations).__next__


def test_a_noisy_calibration_is_done_again():
    steady = measured(1.0, noise=0.001)
    attempts = calibrate_before(script(measured(1.3, noise=0.05), steady), 0.01)
    assert len(attempts) == 2
    assert least_noisy(attempts) is steady
    noisy = [measured(1.0, noise=noise) for noise in (0.05, 0.03, 0.04, 0.001)]
    attempts = calibrate_before(script(*noisy), 0.01)
    assert len(attempts) == 3
    assert least_noisy(attempts) is noisy[1]


def test_a_disturbance_that_passes_is_no_drift():
    before = measured(1.0)
    attempts = calibrate_after(script(measured(1.4), measured(1.005)), before, 0.01)
    assert len(attempts) == 2
    assert least_drift(before, attempts).share == pytest.approx(0.005)
    attempts = calibrate_after(script(*map(measured, (1.4, 1.3, 1.5, 1.0))), before, 0.01)
    assert least_drift(before, attempts).share == pytest.approx(0.3)


# -------------------------------------------------------------------------------- whole trials


class OtherExecutor:
    """Stands for one that starts containers."""

    def __getattr__(self, name):
        return getattr(LocalExecutor(), name)


@pytest.fixture
def config(tmp_path, data_dir):
    return StudyConfig(
        submission_path=str(NADAMW),
        framework="pytorch",
        workload="digits",
        data_dir=data_dir,
        experiment_dir=tmp_path / "experiments",
        experiment_name="run",
        num_tuning_trials=1,
        num_devices=1,
        max_global_steps=3,
    )


FAILED = InfrastructureError("The calibration of the machine failed.")


@pytest.fixture
def run_with(config, monkeypatch):
    """A function that runs the trial with calibrations that take so long, or raise, in turn."""

    def run(*seconds: Any, pause: float = 0.0, **changes: object) -> tuple[Status, Path]:
        calibrations = iter(seconds)

        def scripted(framework: str, num_devices: int, *, cpus: frozenset | None) -> dict:
            time.sleep(pause)
            found = next(calibrations, FAILED)
            if isinstance(found, BaseException):
                raise found
            return measured(found)

        monkeypatch.setattr("finishline.surroundings.calibrate", scripted)
        changed = dataclasses.replace(config, **changes)
        (trial,) = plan_study(changed)
        return run_study(changed), trial.run_dir

    return run


def events_of(run_dir: Path, kind: str) -> list[dict]:
    return [event for _, event in read_events(run_dir / "events.jsonl") if event["event"] == kind]


def problems_of(run_dir: Path) -> list[str]:
    """What the scorer tells a reader of the leaderboard."""
    root = run_dir.parents[3]
    logs = find_logs(root)
    metas = read_metas(root, logs.trials, [])
    targets = {trial.workload: metas[trial.path].target for trial in logs.trials}
    readings = read_trials(root, logs.trials, metas, targets, cache=Cache(None))
    return [problem.reason for problem in readings.problems]


def errors_of(run_dir: Path) -> list[str]:
    """What the checker finds, but for gaps in the ledger that a busy machine makes."""
    found = check_runs(find_runs(run_dir.parents[3]))
    return [str(one) for one in found if "the ledger gained" not in one.message]


def test_by_default_nothing_is_calibrated_but_the_host_is_on_record(run_with):
    status, run_dir = run_with()
    assert status is Status.BUDGET_SPENT
    assert not events_of(run_dir, "calibration")
    assert [event["when"] for event in events_of(run_dir, "host")] == ["before", "after"]
    meta = read_json(run_dir / "meta.json")
    assert meta["on_drift"] == "off"
    assert meta["host"]["before"]["kernel"] == os.uname().release
    assert 0 <= meta["host"]["changes"]["busy_share"] <= 1
    assert "calibration" not in meta


def test_workers_in_containers_are_calibrated_by_default(config):
    (trial,) = plan_study(config)
    assert trial.drift_policy is OnDrift.OFF
    assert dataclasses.replace(trial, executor=OtherExecutor()).drift_policy is OnDrift.WARN


def test_a_steady_machine_is_on_record_without_a_word(run_with, capsys):
    status, run_dir = run_with(1.0, 1.005, on_drift="fail")
    assert status is Status.BUDGET_SPENT
    found = read_json(run_dir / "meta.json")["calibration"]
    assert found["before"]["attempts"][0]["cpu"]["seconds"] == 1.0
    assert found["after"]["drift"]["share"] == pytest.approx(0.005)
    assert found["after"]["is_exceeded"] is False
    assert "The machine" not in capsys.readouterr().out
    assert not problems_of(run_dir)
    assert not errors_of(run_dir)


def test_a_drift_is_warned_of(run_with, capsys):
    status, run_dir = run_with(1.0, 1.05, 1.04, 1.06, on_drift="warn")
    assert status is Status.BUDGET_SPENT
    assert "4.0% slower" in capsys.readouterr().out
    assert any("4.0% slower" in event["text"] for event in events_of(run_dir, "message"))
    assert read_json(run_dir / "meta.json")["calibration"]["after"]["is_exceeded"] is True
    assert any("+4.0% time" in reason for reason in problems_of(run_dir))
    assert not errors_of(run_dir)


def test_a_larger_drift_can_be_put_up_with(run_with):
    status, run_dir = run_with(1.0, 1.05, on_drift="fail", max_drift=0.1)
    assert status is Status.BUDGET_SPENT
    assert read_json(run_dir / "meta.json")["calibration"]["after"]["is_exceeded"] is False


def test_a_trial_on_a_machine_that_drifts_begins_anew(run_with):
    status, run_dir = run_with(1.0, 1.05, 1.04, 1.06, on_drift="fail")
    assert status is Status.INFRASTRUCTURE_ERROR
    meta = read_json(run_dir / "meta.json")
    assert meta["discarded"] is True
    assert "4.0% slower" in meta["message"]
    assert "--max_global_steps is reached" in meta["message"]
    assert meta["calibration"]["after"]["is_exceeded"] is True

    status, run_dir = run_with(1.05, 1.05, on_drift="fail", resume=True)
    assert status is Status.BUDGET_SPENT
    (first, second) = events_of(run_dir, "trial_ended")
    (resumed,) = events_of(run_dir, "resumed")
    assert resumed["step"] == 0
    assert sum(resumed["ledger"].values()) < 0.1
    assert resumed["lost"]["steps"] == first["step"] == 3
    assert second["ledger"]["submission"] < first["ledger"]["submission"] + 5
    meta = read_json(run_dir / "meta.json")
    assert meta["calibration"]["before"]["attempts"][0]["cpu"]["seconds"] == 1.05
    assert "discarded" not in meta
    assert not errors_of(run_dir)


def test_an_interrupted_trial_is_compared_with_its_first_calibration(run_with, config):
    status, run_dir = run_with(1.0, 1.0, on_drift="fail")
    assert status is Status.BUDGET_SPENT
    (run_dir / "meta.json").unlink()
    lines = (run_dir / "events.jsonl").read_bytes().splitlines(keepends=True)
    cut = next(i for i, line in enumerate(lines) if b'"evaluation"' in line)
    (run_dir / "events.jsonl").write_bytes(b"".join(lines[: cut + 1]))  # killed right after it
    status, run_dir = run_with(1.2, 1.2, 1.2, on_drift="fail", resume=True)
    assert status is Status.INFRASTRUCTURE_ERROR
    assert "20.0% slower" in read_json(run_dir / "meta.json")["message"]


def test_a_machine_that_cannot_be_calibrated_fails_a_trial_only_if_asked_to(run_with, capsys):
    status, _ = run_with(on_drift="warn")
    assert status is Status.BUDGET_SPENT
    assert "calibration of the machine failed" in capsys.readouterr().out
    status, run_dir = run_with(on_drift="fail", overwrite=True)
    assert status is Status.INFRASTRUCTURE_ERROR
    assert not events_of(run_dir, "batch_size")
    status, run_dir = run_with(1.0, on_drift="fail", overwrite=True)
    assert status is Status.INFRASTRUCTURE_ERROR
    assert read_json(run_dir / "meta.json")["discarded"] is True


def test_an_interrupted_calibration_can_be_made_good(run_with):
    status, run_dir = run_with(1.0, KeyboardInterrupt(), on_drift="fail")
    assert status is Status.INTERRUPTED
    status, run_dir = run_with(1.001, on_drift="fail", resume=True)
    assert status is Status.BUDGET_SPENT
    found = read_json(run_dir / "meta.json")["calibration"]
    assert found["before"]["attempts"][0]["cpu"]["seconds"] == 1.0
    assert found["after"]["drift"]["share"] == pytest.approx(0.001)
    assert not errors_of(run_dir)


def test_a_fault_of_the_submission_stays_one(run_with, tmp_path):
    folder = tmp_path / "faulty"
    folder.mkdir()
    source = (NADAMW / "pytorch" / "submission.py").read_text()
    (folder / "submission.py").write_text(
        source.replace("def init_optimizer_state(", "def renamed(")
        + "\n\ndef init_optimizer_state("
        "workload, model_params, model_state, hyperparameters, rng):\n    raise ValueError\n"
    )
    space = (NADAMW / "tuning_search_space.json").read_text()
    (folder / "tuning_search_space.json").write_text(space)
    status, run_dir = run_with(1.0, 2.0, 2.0, 2.0, on_drift="fail", submission_path=str(folder))
    assert status is Status.SUBMISSION_ERROR
    assert read_json(run_dir / "meta.json")["calibration"]["after"]["is_exceeded"] is True


def test_calibrations_are_in_the_ledger_but_not_on_the_clock(run_with):
    status, run_dir = run_with(1.0, 1.3, 1.3, 1.3, pause=0.7, on_drift="warn")
    assert status is Status.BUDGET_SPENT
    (end,) = events_of(run_dir, "trial_ended")
    ledger = end["ledger"]
    started = (run_dir / "hparams.json").stat().st_mtime
    ended = datetime.datetime.fromisoformat(end["time"]).timestamp()
    assert sum(ledger.values()) == pytest.approx(ended - started, rel=0.005)
    assert ledger["record_keeping"] > 3 * 0.7
    assert ledger["setup"] > 0.7
    (evaluation,) = events_of(run_dir, "evaluation")
    assert ledger["submission"] == pytest.approx(evaluation["ledger"]["submission"], abs=0.2)
