"""A Docker engine for tests, a base image without a registry, and the image of the workers.

``FINISHLINE_TEST_ENGINE``, such as ``unix:///var/run/docker.sock``, names an engine that runs
already and keeps its images; otherwise one is started in a temporary folder, which takes root.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BASE_IMAGE = "finishline-base:test"
_START_TIMEOUT = 60
_PROGRAMS = ("dockerd", "containerd", "runc")


@pytest.fixture(scope="session")
def engine() -> Iterator:
    """A client of a Docker engine; DOCKER_HOST names it, also for the processes of tests."""
    pytest.importorskip("docker")
    from finishline.containers.engine import connect

    with contextlib.ExitStack() as stack:
        host = os.environ.get("FINISHLINE_TEST_ENGINE") or stack.enter_context(_own_engine())
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("DOCKER_HOST", host)
        yield stack.enter_context(contextlib.closing(connect()))


@contextlib.contextmanager
def _own_engine() -> Iterator[str]:
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        what = f"{', '.join(missing)} installed" if missing else "root, to start one"
        pytest.skip(f"NO DOCKER ENGINE: set FINISHLINE_TEST_ENGINE, or have {what}")
    folder = Path(tempfile.mkdtemp(prefix="finishline-engine-"))
    host = f"unix://{folder}/socket"
    command = ["dockerd", f"--data-root={folder}/data", f"--host={host}"]
    command += [f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    command += ["--iptables=false", "--ip6tables=false", "--bridge=none"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        _await_engine(process, folder)
        yield host
    finally:
        process.terminate()
        process.wait(timeout=60)
        _unmount_below(folder)
        shutil.rmtree(folder)


def _await_engine(process: subprocess.Popen, folder: Path) -> None:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_START_TIMEOUT)
            connection.connect(str(folder / "socket"))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            if b" 200 " in connection.recv(100):
                return
        time.sleep(0.2)
    pytest.skip(f"NO DOCKER ENGINE: dockerd does not run: {(folder / 'log').read_text()[-500:]}")


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed(mounts):
        if Path(mount).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", mount], check=True)


@pytest.fixture(scope="session")
def base_image(engine) -> str:
    """The name of an image with Debian 12, its Python 3.11 and nothing else, from debootstrap."""
    import docker

    with contextlib.suppress(docker.errors.ImageNotFound):
        return engine.images.get(BASE_IMAGE).tags[0]
    if shutil.which("debootstrap") is None:
        pytest.skip(f"NO BASE IMAGE: install debootstrap, or put {BASE_IMAGE} into the engine")
    command = ["debootstrap", "--variant=minbase", "--include=python3,python3-venv", "bookworm"]
    with tempfile.TemporaryDirectory(prefix="finishline-base-") as folder:
        done = subprocess.run([*command, folder], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:]
        shutil.rmtree(Path(folder, "var/cache/apt"))
        _import_tree(engine, Path(folder))
    return BASE_IMAGE


def _import_tree(engine, folder: Path) -> None:
    tar = subprocess.Popen(
        ["tar", "--numeric-owner", "-C", str(folder), "-c", "."], stdout=subprocess.PIPE
    )
    with tar:
        blocks = iter(lambda: tar.stdout.read(1 << 20), b"")
        repository, tag = BASE_IMAGE.split(":")
        engine.api.import_image_from_stream(blocks, repository=repository, tag=tag)
    assert tar.returncode == 0


@pytest.fixture(scope="session")
def worker_image(engine, base_image) -> str:
    """The id of the image of the workers with both frameworks, for CPUs."""
    from finishline.containers.image import WorkerImage, get_image

    return get_image(engine, WorkerImage(base=base_image), _tell).id


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
