"""The command that builds the image of the workers, or writes what it is built from."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "finishline.containers.build_image", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)


def test_context_without_an_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    done = run(f"--context={tmp_path}", "--framework=jax")
    assert done.returncode == 0, done.stderr
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {
        "Dockerfile",
        "docker",
        "finishline",
        "finishline.def",
        "wheels",
        "workloads",
    }
    wheels = [path.name for path in (tmp_path / "wheels").iterdir()]
    assert any(name.startswith("jaxlib-") for name in wheels)
    assert not any(name.startswith("torch-") for name in wheels)


@pytest.mark.docker
def test_prints_the_id(engine, base_image, worker_image):
    done = run(f"--base={base_image}", "--tag=finishline-worker:test")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == engine.images.get("finishline-worker:test").id
