"""Where a worker runs: the seam between the referee and processes or containers.

Session and referee know workers by the protocol ``Worker`` alone, and make them by an
``Executor``. ``LocalExecutor`` starts a process on this machine; ``finishline.containers`` has the
one that starts a container.
"""

import dataclasses
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from finishline import devices
from finishline.ending import Ending
from finishline.exchange import Exchange
from finishline.launch import WorkerProcess
from finishline.output import OutputFile


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """What a worker is to do, by paths of this machine.

    Attributes:
      framework: 'jax' or 'pytorch'.
      num_devices: devices to train on; in PyTorch each has a process of its own.
      data_dir: where the data sets are.
      train_dir: the folder of the training split, somewhere below ``data_dir``.
      submission_path: the submission's file.
      log_path: where the worker's output goes, up to 16 MiB.
    """

    framework: str
    num_devices: int
    data_dir: Path
    train_dir: Path
    submission_path: Path
    log_path: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerPaths:
    """Where the worker sees what it works with.

    Attributes:
      data_dir: the data sets, as far as it may read them.
      exchange_dir: the exchange folder.
      submission_path: the submission's file.
    """

    data_dir: str
    exchange_dir: str
    submission_path: str


@runtime_checkable
class Worker(Protocol):
    """A worker that has been started, with everything that it starts.

    Attributes:
      output: what it prints.
    """

    output: OutputFile

    def pids(self) -> list[int]:
        """Its processes, by their numbers on this machine."""

    def ending(self, timeout: float = 0.0) -> Ending | None:
        """How it ended, or None if it has not after ``timeout`` seconds."""

    def freeze(self) -> None:
        """Stops all of it; returns when nothing runs any more.

        Raises:
          InfrastructureError: it cannot be stopped.
          RuleViolation: it goes on again and again.
        """

    def thaw(self) -> None:
        """Lets it go on. If something ran while it should have stood still, nothing goes on.

        Raises:
          RuleViolation: something ran or began.
          InfrastructureError: something was killed.
        """

    def kill(self) -> None:
        """Ends all of it, frozen or not, and leaves nothing behind; a second call does nothing."""

    def peak_memory_bytes(self) -> int:
        """The most memory that it has used, 0 where that cannot be told."""

    def describe(self) -> dict[str, Any]:
        """What is known of it, as JSON, for the record."""


@runtime_checkable
class Executor(Protocol):
    """Starts workers of one kind."""

    def describe(self) -> dict[str, Any]:
        """What it was asked for, as JSON; ``executor`` is its name on the command line."""

    def flags(self) -> dict[str, object]:
        """The flags by which a command line makes the same executor, by name."""

    def count_devices(self, framework: str) -> int:
        """How many devices a trial gets if nobody says."""

    def check(self) -> None:
        """Checks, before anything is written, that workers can be started.

        Raises:
          UserError: they cannot.
        """

    def cpus(self) -> frozenset[int] | None:
        """The processors on which its workers run; None is those of this process."""

    def open_exchange(self, *, on_disk: bool = False) -> Exchange:
        """A fresh exchange folder for one worker.

        Args:
          on_disk: whether it is on the disk, because memory has too little room; not all heed it.
        """

    def paths(self, job: WorkerJob, exchange: Exchange) -> WorkerPaths:
        """Where its workers see what they work with."""

    def start(self, job: WorkerJob, exchange: Exchange) -> Worker:
        """Starts a worker, which connects to the socket in ``exchange``.

        Raises:
          InfrastructureError: it cannot be started.
        """


@dataclasses.dataclass(frozen=True)
class LocalExecutor:
    """Workers are processes of this machine, confined as ``finishline.sandbox`` says."""

    def describe(self) -> dict[str, Any]:
        """Its name alone."""
        return {"executor": "local"}

    def flags(self) -> dict[str, object]:
        """Its name alone."""
        return {"executor": "local"}

    def count_devices(self, framework: str) -> int:
        """The GPUs that the installed framework can use, or 1 for the CPU."""
        return devices.count_devices(framework)

    def check(self) -> None:
        """Nothing can be missing."""

    def cpus(self) -> None:
        """Those of this process."""

    def open_exchange(self, *, on_disk: bool = False) -> Exchange:
        """A folder on tmpfs, or on the disk."""
        return Exchange(on_disk=on_disk)

    def paths(self, job: WorkerJob, exchange: Exchange) -> WorkerPaths:
        """Those of this machine."""
        return WorkerPaths(
            data_dir=str(job.data_dir),
            exchange_dir=str(exchange.path),
            submission_path=str(job.submission_path),
        )

    def start(self, job: WorkerJob, exchange: Exchange) -> Worker:
        """Starts a process."""
        return WorkerProcess(
            exchange.socket_path,
            exchange.path,
            job.log_path,
            framework=job.framework,
            num_devices=job.num_devices,
            submission_path=job.submission_path,
        )
