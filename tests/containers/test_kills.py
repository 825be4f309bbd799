"""Organizer, container and engine are killed at random moments: nothing counts twice, or is left.

The engine is one of the test's own, because it is killed, too.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from finishline.errors import BAD_INPUT_EXIT_CODE, Status
from finishline.records import evaluations

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    # The SDK leaves sockets to be collected, more so when the engine is killed.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
INFRASTRUCTURE_ERROR = Status.INFRASTRUCTURE_ERROR.exit_code
KILLS = ["organizer", "container", "engine", "container", "organizer"]
ROUNDS = 4
# With so small a learning rate no target is reached.
POINT = {
    "learning_rate": 1e-7,
    "beta1": 0.9,
    "beta2": 0.999,
    "weight_decay": 0.01,
    "warmup_factor": 0.05,
}
ENDLESS, STEPS = 10**6, 30
# So that some come in the set-up and some in the race, and the budget lasts. Seconds.
MOMENTS = (2, 12)
PATIENCE = 120


class Engine:
    """A Docker engine that can be killed and started again."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.host = f"unix://{folder}/socket"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        folder = self._folder
        command = ["dockerd", f"--data-root={folder}/data", f"--host={self.host}"]
        command += [f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
        command += ["--iptables=false", "--ip6tables=false", "--bridge=none"]

        def is_up() -> bool:
            if self.process is None or self.process.poll() is not None:
                with (folder / "log").open("a") as log:
                    self.process = subprocess.Popen(
                        command, stdout=log, stderr=log, start_new_session=True
                    )
            return self._answers()

        wait_for(is_up)

    def _answers(self) -> bool:
        import docker

        with contextlib.suppress(docker.errors.DockerException):
            self.client = docker.DockerClient(self.host, timeout=600)
            return True
        return False

    def kill(self) -> None:
        """Ends it and its containerd at once, as a crash of the machine's services does."""
        containerd = self._folder / "exec" / "containerd" / "containerd.pid"
        for pid in (self.process.pid, int(containerd.read_text())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        # A new engine would take what is left for one that runs.
        for path in (self._folder / "pid", containerd):
            path.unlink(missing_ok=True)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def wait_for(condition, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def own_engine(engine, worker_image):
    """An engine with the image of the workers, and nothing else."""
    if shutil.which("dockerd") is None or os.getuid() != 0:
        pytest.skip("NO DOCKER ENGINE: needs dockerd and root, to start one that can be killed")
    folder = Path(tempfile.mkdtemp(prefix="finishline-engine-"))
    own = Engine(folder)
    try:
        own.start()
        own.client.images.load(engine.images.get(worker_image).save())
        yield own
    finally:
        own.stop()
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        for mount in reversed([line.split()[1] for line in mounts]):
            if Path(mount).is_relative_to(folder):
                subprocess.run(["umount", "--lazy", mount], check=True)
        shutil.rmtree(folder)


@pytest.fixture
def runner(make_runner, tmp_path, own_engine, worker_image, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", own_engine.host)
    space = tmp_path / "space.json"
    space.write_text(json.dumps([POINT]))
    return make_runner(
        framework="pytorch",
        workload="digits",
        submission_path=ROOT / "reference_submissions" / "nadamw",
        tuning_search_space=space,
        executor="docker",
        docker_image=worker_image,
        docker_memory="4g",
        on_drift="off",
        experiment_name="run",
    )


def kill(who, process, engine):
    if who == "organizer":
        process.kill()
    elif who == "engine":
        engine.kill()
        engine.start()
    else:
        for container in wait_for(engine.client.containers.list):
            with contextlib.suppress(Exception):  # it may have ended by itself
                container.kill()
    return process.communicate(timeout=PATIENCE)[0]


def left(engine, attempts_before) -> set[str]:
    found = {f"container {one['Id']}" for one in engine.client.api.containers(all=True)}
    found |= {f"volume {one.id}" for one in engine.client.volumes.list()}
    attempts = {str(path) for path in Path("/dev/shm").glob("*finishline.attempt-*")}
    return found | (attempts - attempts_before)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_killed_at_random_moments(runner, own_engine, seed):
    rng = random.Random(seed)
    before = {str(path) for path in Path("/dev/shm").glob("*finishline.attempt-*")}
    networks = len(own_engine.client.networks.list())
    notes = []
    for who in KILLS:
        process = runner.start(resume=True, max_global_steps=ENDLESS)
        time.sleep(rng.uniform(*MOMENTS))
        assert process.poll() is None
        output = kill(who, process, own_engine)
        notes.append((who, process.returncode))
        wait_for(lambda: not left(own_engine, before))
        expected = -signal.SIGKILL if who == "organizer" else INFRASTRUCTURE_ERROR
        # The engine may have been killed before it was needed; planning then ends with bad input.
        assert process.returncode in (expected, BAD_INPUT_EXIT_CODE), output
    last = max((event["step"] for event in evaluations(runner.events)), default=0)
    code, output = runner.run(resume=True, max_global_steps=last + STEPS)
    assert code == Status.BUDGET_SPENT.exit_code, output
    assert not left(own_engine, before)
    assert len(own_engine.client.networks.list()) == networks
    check_record(runner, notes)


def check_record(runner, notes):
    """Nothing is counted twice, and each attempt has its cause."""
    steps = [event["step"] for event in evaluations(runner.events)]
    assert steps == sorted(set(steps))
    failed = sum(code == INFRASTRUCTURE_ERROR for _, code in notes)
    assert len(runner.events_of("trial_ended")) == 1 + failed
    resumed = runner.events_of("resumed")
    assert resumed
    for event in resumed:
        assert event["cause"].startswith(("infrastructure_error: ", "The referee's process ended"))
    times = [event["ledger"]["submission"] for event in evaluations(runner.events)]
    assert times == sorted(times)
    print(notes, len(resumed), "resumed", steps)
