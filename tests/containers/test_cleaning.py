"""Nothing of a trial is left, whoever dies; and what is others' stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finishline.containers.attempts import ContainerExchange, place_of
from finishline.containers.cgroup import Cgroup
from finishline.containers.engine import LABEL, PLACE_LABEL
from finishline.containers.freezer import Freezer
from finishline.containers.orphans import remove_container, remove_orphans
from finishline.errors import InfrastructureError, RuleViolation

pytestmark = pytest.mark.docker

ROOT = Path(__file__).resolve().parents[2]
BUSY = ["python3", "-c", "while True: pass"]

# Starts a container as an organizer does, tells its id, and waits.
ORGANIZER = """
import sys, time
from finishline.containers.attempts import ContainerExchange, place_of
from finishline.containers.engine import LABEL, PLACE_LABEL, connect
from finishline.containers.guard import Guard
exchange = ContainerExchange((10001, 10001), 2**20, 100)
guard = Guard(exchange.attempt)
labels = {LABEL: str(exchange.attempt), PLACE_LABEL: place_of(exchange.attempt)}
container = connect().containers.run(
    sys.argv[1], ["sleep", "1000"], labels=labels, network_mode="none", detach=True,
    volumes={str(exchange.path): {"bind": "/exchange"}},
)
if sys.argv[2] == "unguarded":
    guard._process.kill()
print(container.id, exchange.attempt, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def start(engine, base_image):
    """A function that starts a busy container with the given labels; removed after the test."""
    started = []

    def run(**labels):
        container = engine.containers.run(
            base_image, BUSY, labels=labels, network_mode="none", cpu_quota=20_000, detach=True
        )
        started.append(container)
        container.reload()
        return container

    yield run
    for container in started:
        remove_container(container)


@pytest.fixture
def organize(engine, base_image):
    """A function that starts an organizer; returns its process, container and attempt."""
    processes = []

    def run(how):
        command = [sys.executable, "-c", ORGANIZER, base_image, how]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        processes.append(process)
        name, attempt = process.stdout.readline().split()
        return process, name, Path(attempt)

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def is_there(engine, name):
    return any(one.id == name for one in engine.containers.list(all=True))


def await_removal(engine, name, attempt, seconds=60):
    deadline = time.monotonic() + seconds
    while is_there(engine, name) or attempt.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert str(attempt) not in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize("is_frozen", [False, True])
def test_the_guard_cleans_up_after_an_organizer_that_is_killed(engine, organize, is_frozen):
    process, name, attempt = organize("guarded")
    assert os.path.ismount(attempt / "exchange") == (os.getuid() == 0)
    if is_frozen:
        Cgroup.of(engine.containers.get(name).attrs["State"]["Pid"]).freeze()
    process.kill()
    await_removal(engine, name, attempt)


def test_without_a_guard_the_next_start_cleans_up(engine, organize):
    dead, orphan, its_attempt = organize("unguarded")
    _, living, living_attempt = organize("guarded")
    dead.kill()
    dead.wait()
    time.sleep(1)
    assert is_there(engine, orphan)
    removed = remove_orphans(engine)
    assert any(its_attempt.name in what or "container" in what for what in removed)
    await_removal(engine, orphan, its_attempt)
    assert is_there(engine, living)
    assert living_attempt.exists()


def test_only_ours_are_removed(engine, start, tmp_path):
    stranger = start()
    elsewhere = start(**{LABEL: "/dev/shm/gone", PLACE_LABEL: "another boot 1"})
    unplaced = start(**{LABEL: "test"})
    remove_orphans(engine)
    for container in (stranger, elsewhere, unplaced):
        assert is_there(engine, container.id)


def test_no_room_and_no_file_beyond_the_limits():
    if os.getuid() != 0:
        pytest.skip("only root can mount a file system")
    exchange = ContainerExchange((10001, 10001), 2**20, 16)
    try:
        assert exchange.describe() == {"kind": "tmpfs", "size_bytes": 2**20, "inodes": 16}
        assert (exchange.path.stat().st_uid, exchange.path.stat().st_mode & 0o777) == (10001, 0o700)
        with pytest.raises(OSError, match="No space left"):
            (exchange.path / "large").write_bytes(bytes(2**21))
        files = [exchange.path / str(number) for number in range(20)]
        with pytest.raises(OSError, match="No space left"):
            list(map(Path.touch, files))
    finally:
        exchange.remove()
    assert not exchange.attempt.exists()


def test_a_place_is_the_same_only_for_who_sees_the_folder(tmp_path):
    assert place_of(tmp_path / "x") != place_of(Path("/proc/x"))


@pytest.mark.parametrize("is_direct", [True, False])
def test_nothing_runs_while_it_is_frozen(start, is_direct):
    container = start(**{LABEL: "test"})
    cgroup = Cgroup.of(container.attrs["State"]["Pid"])
    freezer = Freezer(container, cgroup)
    freezer._is_direct = is_direct
    for _ in range(3):
        freezer.freeze()
        used = cgroup.cpu_usage()
        time.sleep(0.2)
        assert cgroup.cpu_usage() == used
        freezer.thaw()
        time.sleep(0.2)
        assert cgroup.cpu_usage() > used


def test_what_ran_while_it_was_frozen_is_told(start):
    container = start(**{LABEL: "test"})
    cgroup = Cgroup.of(container.attrs["State"]["Pid"])
    freezer = Freezer(container, cgroup)
    freezer.freeze()
    cgroup.thaw()
    time.sleep(0.2)
    cgroup.freeze()
    with pytest.raises(RuleViolation, match="ran while the clock was off"):
        freezer.thaw()
    assert cgroup.is_frozen()


def test_who_is_killed_while_frozen_is_no_cheat(start):
    container = start(**{LABEL: "test"})
    freezer = Freezer(container, Cgroup.of(container.attrs["State"]["Pid"]))
    freezer.freeze()
    container.kill(signal.SIGKILL)
    with pytest.raises(InfrastructureError, match="ended while the clock was off"):
        freezer.thaw()
