"""The folder in memory: whose it is, and what happens where it has too little room."""

import contextlib
import errno
import subprocess
import sys
from pathlib import Path

import pytest

from finishline import exchange
from finishline.errors import InfrastructureError, Status
from finishline.exchange import Exchange, full_folder_is_told

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def memory(tmp_path, monkeypatch):
    """A folder in the place of /dev/shm."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(exchange, "_TMPFS", folder)
    return folder


def test_a_folder_is_kept_as_long_as_its_referee_lives(memory):
    """Also where its process number says nothing, as from within another container."""
    code = (
        "import sys, pathlib; from finishline import exchange;"
        f"exchange._TMPFS = pathlib.Path({str(memory)!r});"
        "own = exchange.Exchange(); print(own.path, flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **pipes) as other:
        path = Path(other.stdout.readline().strip())
        hidden = path.rename(memory / "finishline-999999999-other")
        first = Exchange()
        assert hidden.exists()
        other.kill()
        other.wait()
        second = Exchange()
        assert not hidden.exists()
        assert first.path.exists()
    first.remove()
    second.remove()
    assert list(memory.iterdir()) == []


def test_without_memory_the_folder_is_on_the_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(exchange, "_TMPFS", tmp_path / "none")
    folder = Exchange()
    assert folder.is_on_disk
    assert folder.path.exists()
    folder.remove()


def test_a_full_folder_is_the_machines_fault(memory):
    told = pytest.raises(InfrastructureError, match=f"{memory} is full")
    with told, full_folder_is_told(memory / "x"):
        raise OSError(errno.ENOSPC, "whatever")
    with pytest.raises(ZeroDivisionError), full_folder_is_told(memory):
        1 / 0  # noqa: B018


# With 4 MB of state, more than the small memory has.
SUBMISSION = """
import torch

def get_batch_size(workload_name):
    return 64

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {"ballast": torch.zeros(2**20)}

def data_selection(workload, input_queue, optimizer_state, current_param_container, model_state,
                   hyperparameters, global_step, rng):
    return next(input_queue)

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng):
    return optimizer_state, current_param_container, model_state
"""
REFEREE = """
import pathlib, runpy, sys
from finishline import exchange, session
exchange._TMPFS = pathlib.Path({memory!r})
session._ROOM_FOR_CACHES = {room}
runpy.run_path("submission_runner.py", run_name="__main__")
"""


@contextlib.contextmanager
def small_memory(folder: Path):
    options = ["-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    ("room", "status", "words"),
    [
        (2**24, Status.BUDGET_SPENT, "on the disk is used instead"),
        (-(2**30), Status.INFRASTRUCTURE_ERROR, "is full"),
    ],
)
def test_a_trial_with_little_memory(make_runner, tmp_path, memory, room, status, words):
    (tmp_path / "submission.py").write_text(SUBMISSION)
    runner = make_runner(
        framework="pytorch",
        workload="digits",
        submission_path=tmp_path,
        tuning_ruleset="self",
        max_global_steps=5,
    )
    code = REFEREE.format(memory=str(memory), room=room)
    command = [sys.executable, "-c", code, *runner.command()[2:]]
    with small_memory(memory):
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert list(memory.iterdir()) == []
    assert ended.returncode == status.exit_code, ended.stdout + ended.stderr
    assert words in ended.stdout
    assert "3 MB free" in ended.stdout or room < 0
    assert runner.meta["status"] == status
