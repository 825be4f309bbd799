"""What tests of whole trials share."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from beartype import BeartypeConf
from beartype.claw import beartype_packages

# Annotations are checked at run time in all that is imported from here on. As for mypy, an int
# will do for a float. Of a long sequence one item is checked: always the first, because drawing
# one would change the state of ``random``, which tests of checkpoints compare.
beartype_packages(
    ("finishline", "scoring", "workloads"),
    conf=BeartypeConf(is_pep484_tower=True, is_random=False),
)

from engine_fixtures import base_image, engine, worker_image  # noqa: E402, F401

from finishline.frameworks.environment import prepare_environment  # noqa: E402
from finishline.records import read_events  # noqa: E402
from finishline.suites import all_suites  # noqa: E402
from finishline.workload import find_workload  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent

prepare_environment("pytorch")  # as in the harness's processes, before PyTorch is imported

# Shells start background jobs with SIGINT ignored, which the programs under test would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """The data of the ``embedded`` suite, prepared; trials make other embedded data at need."""
    folder = tmp_path_factory.mktemp("data")
    for name in all_suites()["embedded"].workloads:
        find_workload(name).dataset.prepare(folder)
    return folder


@dataclasses.dataclass
class Runner:
    """Runs ``submission_runner.py`` on trial 1 of one experiment."""

    experiment: Path
    flags: dict[str, object]

    def command(self, **more: object) -> list[str]:
        flags = {
            "experiment_dir": self.experiment.parent,
            "experiment_name": self.experiment.name,
            "num_tuning_trials": 1,
            **self.flags,
            **more,
        }
        given = [f"--{name}={value}" for name, value in flags.items()]
        return [sys.executable, str(ROOT / "submission_runner.py"), *given]

    def start(self, **more: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(**more), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, **more: object) -> tuple[int, str]:
        process = self.start(**more)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    @property
    def run_dir(self) -> Path:
        return next(self.experiment.glob("*/study_0/*/trial_1"))

    @property
    def meta(self) -> dict:
        return json.loads((self.run_dir / "meta.json").read_text())

    @property
    def events(self) -> list[dict]:
        return [event for _, event in read_events(self.run_dir / "events.jsonl")]

    def events_of(self, kind: str) -> list[dict]:
        return [event for event in self.events if event["event"] == kind]

    def final_snapshot(self) -> bytes:
        """The parameters with which the last checkpoint was written."""
        newest = max((self.run_dir / "checkpoints").glob("step_*"))
        return (newest / "snapshot.safetensors").read_bytes()


@pytest.fixture
def make_runner(tmp_path, data_dir):
    """A function that makes a ``Runner`` from the flags of ``submission_runner.py``."""

    def make(name: str = "run", **flags: object) -> Runner:
        return Runner(tmp_path / name, {"data_dir": data_dir, **flags})

    return make


def descendants(pid: int) -> list[int]:
    found, open_ends = [], [pid]
    while open_ends:
        for path in Path(f"/proc/{open_ends.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(child) for child in path.read_text().split()]
                found += children
                open_ends += children
    return found


def is_frozen(process: subprocess.Popen) -> bool:
    """Whether the worker of a running trial stands still."""
    for pid in descendants(process.pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
                return True
    return False


def kill(process: subprocess.Popen, who: str) -> None:
    """Sends SIGKILL to the 'worker', the 'referee' or 'both' of a running trial."""
    workers = descendants(process.pid)
    if who in ("referee", "both"):
        process.kill()
    if who in ("worker", "both"):
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)


@pytest.fixture(scope="session")
def processes():
    """Functions on the processes of a running trial."""
    return SimpleNamespace(descendants=descendants, is_frozen=is_frozen, kill=kill)
