"""Small submissions that are written as published ones are, and how to run them."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from finishline.workload import find_workload

ROOT = Path(__file__).resolve().parents[2]
SUBMISSIONS = Path(__file__).parent / "submissions"


@dataclasses.dataclass
class Stepwise:
    """Runs workers in processes of their own; see ``stepwise.py``."""

    folder: Path
    data_dir: Path

    def run(self, style: str, framework: str, workload: str, **more: object) -> dict:
        """What ``result.json`` says; raises ``AssertionError`` with the output of a failure."""
        find_workload(workload).dataset.prepare(self.data_dir)
        path = find(style)
        out = self.folder / f"{style}_{len(list(self.folder.iterdir()))}"
        out.mkdir()
        arguments = {
            "path": str(path),
            "framework": framework,
            "workload": workload,
            "data_dir": str(self.data_dir),
            "out": str(out),
            "steps": 160,
            "hyperparameters": first_point(path),
            **more,
        }
        command = [sys.executable, str(Path(__file__).with_name("stepwise.py"))]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*command, json.dumps(arguments)],
            capture_output=True,
            text=True,
            timeout=600,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return {**json.loads((out / "result.json").read_text()), "out": out}


def find(style: str) -> Path:
    """The submission's file, which may lie deep in the folder of its name."""
    return min((SUBMISSIONS / style).rglob("submission.py"))


def first_point(path: Path) -> dict | None:
    """The first of the points beside the submission; None under self-tuning."""
    space = path.parent / "tuning_search_space.json"
    return json.loads(space.read_text())[0] if space.is_file() else None


@pytest.fixture
def stepwise(tmp_path, data_dir):
    """Runs workers, evaluated after every 32 steps; see ``Stepwise.run``."""
    folder = tmp_path / "stepwise"
    folder.mkdir()
    return Stepwise(folder, data_dir)
