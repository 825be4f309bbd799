"""A competition survives being killed, goes on after a failure, and ends with a leaderboard."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "reference_submissions" / "template"


@pytest.fixture
def configuration(tmp_path, data_dir):
    """Two submissions, one of which fails in its third step, in a TOML file."""
    for name in ("good", "failing"):
        (tmp_path / name / "pytorch").mkdir(parents=True)
        source = (TEMPLATE / "pytorch" / "submission.py").read_text()
        if name == "failing":
            source = source.replace(
                "next(input_queue)", "next(input_queue) if global_step < 3 else 1 / 0"
            )
        (tmp_path / name / "pytorch" / "submission.py").write_text(source)
        space = (TEMPLATE / "tuning_search_space.json").read_text()
        (tmp_path / name / "tuning_search_space.json").write_text(space)
    path = tmp_path / "competition.toml"
    path.write_text(
        f'submissions = ["{tmp_path}/good", "{tmp_path}/failing"]\n'
        f'workloads = "digits"\nframeworks = ["pytorch"]\nnum_tuning_trials = 2\n'
        f'data_dir = "{data_dir}"\nexperiment_dir = "{tmp_path}/out"\nmax_global_steps = 20\n'
    )
    return path


def start(configuration: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "competition.py"), f"--config={configuration}"]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def statuses(root: Path) -> dict[str, str]:
    return {
        f"{path.parts[-5]}/{path.parent.name}": json.loads(path.read_text())["status"]
        for path in root.glob("*/study_*/*/trial_*/meta.json")
    }


def test_killed_and_started_again(configuration, tmp_path):
    root = tmp_path / "out" / "competition"
    process = start(configuration)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and "budget_spent" not in statuses(root).values():
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    first = root / "good_pytorch" / "study_0" / "digits_pytorch" / "trial_1" / "events.jsonl"
    before = first.read_bytes()
    again = start(configuration)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 1, output  # a trial failed
    assert "done already" in output
    assert first.read_bytes() == before
    assert statuses(root) == {
        "good_pytorch/trial_1": "budget_spent",
        "good_pytorch/trial_2": "budget_spent",
        "failing_pytorch/trial_1": "submission_error",
        "failing_pytorch/trial_2": "submission_error",
    }
    table = (root / "leaderboard" / "leaderboard.md").read_text()
    assert "good_pytorch" in table
    assert "ZeroDivisionError" in table
    assert str(root) in output.splitlines()[-1]
