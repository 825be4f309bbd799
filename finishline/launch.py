"""Starting the worker as a process of this machine, and ending it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finishline.ending import Ending, of_process
from finishline.frameworks.environment import prepare_environment
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
        command = [sys.executable, *tether, sys.executable]
        if framework == "pytorch" and num_devices > 1:
            command += ["-m", "finishline.frameworks.pytorch.launch", "--standalone"]
            command += ["--max-restarts=0", f"--nproc_per_node={num_devices}"]
        self._process = subprocess.Popen(
            [*command, "-m", "finishline.worker", str(socket_path), framework],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(exchange_dir, framework, num_devices, submission_path),
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


PRIVATE_FOLDERS = (
    "HOME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "CUDA_CACHE_PATH",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
)


def _private_folder(exchange_dir: Path, name: str) -> str:
    folder = exchange_dir / name.lower()
    folder.mkdir()
    return str(folder)


def _environment(
    exchange_dir: Path, framework: str, num_devices: int, submission_path: Path
) -> dict[str, str]:
    root = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, inherited] if inherited else [root]),
        "PYTHONUNBUFFERED": "1",
        # Off the clock only the harness is imported, not what lies in the current folder.
        "PYTHONSAFEPATH": "1",
        "FINISHLINE_EXCHANGE_DIR": str(exchange_dir),
        "FINISHLINE_SUBMISSION": str(submission_path),
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        # Compiled code and whatever else one trial keeps must not help the next.
        **{name: _private_folder(exchange_dir, name) for name in PRIVATE_FOLDERS},
    }
    prepare_environment(framework, num_devices, environment)
    # Left by a torchrun around the referee; the worker's own torchrun sets them anew.
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    if framework == "pytorch" and num_devices > 1:
        cores = os.cpu_count() or 1
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // num_devices)))
    return environment
