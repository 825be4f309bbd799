"""Real trials that several tests look at, and what they are changed with."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from finishline.records import EVENTS_FILE, META_FILE, RunDirectory
from finishline.recovery import ended
from scoring.runs import Run, find_runs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def finished(tmp_path_factory, data_dir) -> Path:
    """An experiment: nadamw on digits in both frameworks; in PyTorch without checkpoints."""
    folder = tmp_path_factory.mktemp("finished") / "experiment"
    for framework in ("jax", "pytorch"):
        flags = {
            "framework": framework,
            "workload": "digits",
            "submission_path": ROOT / "reference_submissions" / "nadamw",
            "experiment_dir": folder.parent,
            "experiment_name": folder.name,
            "num_tuning_trials": 1,
            "data_dir": data_dir,
            "save_checkpoints": framework == "jax",
        }
        given = [f"--{name}={value}" for name, value in flags.items()]
        command = [sys.executable, str(ROOT / "submission_runner.py"), *given]
        process = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert process.returncode == 0, process.stdout + process.stderr
    return folder


@pytest.fixture
def copied(finished, tmp_path) -> Callable[[str], Run]:
    """Copies the trial of a framework, for changes."""

    def copy(framework: str) -> Run:
        (original,) = [run for run in find_runs(finished) if run.names.framework == framework]
        place = tmp_path / "copy" / original.path.relative_to(finished)
        shutil.copytree(original.path, place)
        return Run(place, original.names)

    return copy


@pytest.fixture
def forge() -> Callable[[Run, Callable[[list[dict]], None]], None]:
    """Changes a log as a thorough forger would: with new hashes, tables and ``meta.json``."""

    def rewrite(run: Run, change: Callable[[list[dict]], None]) -> None:
        path = run.path / EVENTS_FILE
        events = [json.loads(line) for line in path.read_bytes().splitlines()]
        change(events)
        previous, lines = "0" * 64, []
        for index, event in enumerate(events):
            line = (json.dumps(event | {"index": index, "previous": previous}) + "\n").encode()
            previous = hashlib.sha256(line).hexdigest()
            lines.append(line)
        path.write_bytes(b"".join(lines))
        (run.path / META_FILE).unlink()
        directory = RunDirectory(run.path, resume=True)
        assert ended(directory) is not None  # writes the rest anew
        directory.close()

    return rewrite
