"""Starting the worker as a process of this machine, and ending it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finishline.ending import Ending, of_process
from finishline.launch_environment import (
    PRIVATE_FOLDERS,
    search_path,
    worker_command,
    worker_environment,
)
from finishline.output import OutputFile
from finishline.processes import ProcessTree


class WorkerProcess:
    """The worker and everything that it starts, confined as ``finishline.sandbox`` says.

    Args:
      socket_path: where the referee listens.
      exchange_dir: the folder through which arrays travel; also holds the compile caches, so that
        each trial starts with empty ones.
      log_path: where the worker's output goes, up to 16 MiB.
      framework: 'jax' or 'pytorch'.
      num_devices: devices to train on; in PyTorch each has a process of its own.
      submission_path: the submission's file.
    """

    def __init__(
        self,
        socket_path: Path,
        exchange_dir: Path,
        log_path: Path,
        *,
        framework: str,
        num_devices: int,
        submission_path: Path,
    ):
        self._tree = ProcessTree()
        tether = ["-m", "finishline.tether", str(os.getpid()), str(exchange_dir)]
        worker = worker_command(sys.executable, framework, num_devices, str(socket_path))
        environment = worker_environment(
            {**os.environ, "PYTHONPATH": search_path()},
            framework=framework,
            num_devices=num_devices,
            num_cores=os.cpu_count() or 1,
            exchange_dir=exchange_dir,
            private_dir=exchange_dir,
            submission_path=submission_path,
        )
        for name in PRIVATE_FOLDERS:
            Path(environment[name]).mkdir()
        self._process = subprocess.Popen(
            [sys.executable, *tether, *worker],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the referee alone
        )
        self.output = OutputFile(_blocks(self._process), log_path)

    def pids(self) -> list[int]:
        """The processes that are there now."""
        return self._tree.pids()

    def ending(self, timeout: float = 0.0) -> Ending | None:
        """How the first process ended, or None if it has not after ``timeout`` seconds."""
        try:
            return of_process(self._process.wait(timeout))
        except subprocess.TimeoutExpired:
            return None

    def freeze(self) -> None:
        """Stops every process; see ``ProcessTree.freeze``."""
        self._tree.freeze()

    def thaw(self) -> None:
        """Continues every process; see ``ProcessTree.thaw``."""
        self._tree.thaw()

    def kill(self) -> None:
        """Ends the worker and all its descendants and closes the output file."""
        self._process.poll()
        self._tree.kill()
        self._process.wait()
        self.output.close()

    def peak_memory_bytes(self) -> int:
        """The sum of the processes' peak resident sizes, as far as they live."""
        return self._tree.peak_memory_bytes()

    def describe(self) -> dict[str, Any]:
        """Nothing that the machine's description does not have."""
        return {}


def _blocks(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    assert process.stdout is not None
    with process.stdout as stream:
        while block := os.read(stream.fileno(), 1 << 16):
            yield block
