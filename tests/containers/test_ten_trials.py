"""Ten trials in a row leave memory, disk and processes as they were."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from finishline.errors import Status

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
TRIALS = 10
POINT = {"beta1": 0.9, "beta2": 0.999, "weight_decay": 0.01, "warmup_factor": 0.05}
ALLOWED_BYTES = 64 * 2**20  # others use machine and engine, too
PATIENCE = 300


def state(engine) -> dict[str, set[str]]:
    """What a trial could leave, by kind."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    processes = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if any(name in words for name in (b"finishline.", b"containerd-shim")):
            processes.add(path.parent.name)
    return {
        "containers": {one.id for one in engine.containers.list(all=True, ignore_removed=True)},
        "volumes": {one.id for one in engine.volumes.list()},
        "networks": {one.id for one in engine.networks.list()},
        "mounts": {line.split()[1] for line in mounts},
        "folders": {str(path) for path in Path("/dev/shm").iterdir()},
        "processes": processes,
    }


def test_ten_trials(engine, worker_image, make_runner, tmp_path):
    space = tmp_path / "space.json"
    space.write_text(json.dumps([{**POINT, "learning_rate": 1e-5 * n} for n in range(TRIALS)]))
    before = state(engine)
    memory = shutil.disk_usage("/dev/shm").used
    runner = make_runner(
        framework="pytorch",
        workload="digits",
        submission_path=ROOT / "reference_submissions" / "nadamw",
        tuning_search_space=space,
        num_tuning_trials=TRIALS,
        max_global_steps=3,
        executor="docker",
        docker_image=worker_image,
        save_checkpoints=False,
        on_drift="off",
    )
    process = runner.start()
    output, _ = process.communicate(timeout=900)
    assert process.returncode == Status.BUDGET_SPENT.exit_code, output
    assert len(list(runner.experiment.glob("*/*/*/trial_*"))) == TRIALS
    # What others have started meanwhile on a shared machine goes away by itself.
    deadline = time.monotonic() + (PATIENCE if "FINISHLINE_TEST_ENGINE" in os.environ else 10)
    while new := {kind: ids - before[kind] for kind, ids in state(engine).items()}:
        if not any(new.values()):
            break
        assert time.monotonic() < deadline, new
        time.sleep(1)
    assert shutil.disk_usage("/dev/shm").used < memory + ALLOWED_BYTES
    peaks = [
        event["peak_memory_bytes"]["referee"]
        for path in sorted(runner.experiment.glob("*/*/*/trial_*"))
        for event in _ends(path)
    ]
    assert peaks[-1] < 1.1 * peaks[1]


def _ends(path):
    from finishline.records import EVENTS_FILE, read_events

    return [
        event for _, event in read_events(path / EVENTS_FILE) if event["event"] == "trial_ended"
    ]
