"""Starting the worker, catching its output, and ending it."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from finishline.channel import Channel, ChannelClosed, Listener
from finishline.errors import InfrastructureError
from finishline.frameworks.environment import prepare_environment
from finishline.processes import ProcessTree

SETUP_TIMEOUT = 1800.0  # seconds; opening a large data set takes minutes
_POLL_PERIOD = 0.25
MAX_OUTPUT_BYTES = 16 * 1024 * 1024


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
        self.tree = ProcessTree()
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
        self.output = _OutputFile(self._process, log_path)

    @property
    def returncode(self) -> int | None:
        """The exit code (negative: the signal) once the process has ended."""
        return self._process.poll()

    def wait(self, timeout: float) -> int | None:
        """The exit code, or None if the process has not ended after ``timeout`` seconds."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def accept(self, listener: Listener, tick: Callable[[], None]) -> Channel:
        """The worker's connection; ``tick`` is called while waiting.

        Raises:
          InfrastructureError: the worker has ended or does not connect.
        """
        deadline = time.monotonic() + SETUP_TIMEOUT
        while time.monotonic() < deadline and self.returncode is None:
            channel = listener.accept(_POLL_PERIOD, frozenset(self.tree.pids()))
            if channel is not None:
                return channel
            tick()
        raise InfrastructureError(f"The worker did not start: {self.output.tail()}")

    def await_ready(self, channel: Channel, tick: Callable[[], None]) -> None:
        """Waits for the end of the worker's set-up, in which only harness code runs.

        Raises:
          InfrastructureError: the set-up failed.
        """
        deadline = time.monotonic() + SETUP_TIMEOUT
        while time.monotonic() < deadline:
            try:
                frame = channel.receive(_POLL_PERIOD)
            except ChannelClosed:
                break
            if frame is not None and frame["type"] == "ready":
                return
            if frame is not None:
                raise InfrastructureError(f"The worker's set-up failed: {frame.get('message')}")
            tick()
        raise InfrastructureError(f"The worker's set-up ended: {self.output.tail()}")

    def kill(self) -> None:
        """Ends the worker and all its descendants and closes the output file."""
        self._process.poll()
        self.tree.kill()
        self._process.wait()
        self.output.close()


class _OutputFile:
    """Copies the worker's output to a file in the background.

    Attributes:
      is_flooded: whether the worker has written more than the limit; the rest is thrown away.
    """

    def __init__(self, process: subprocess.Popen[bytes], path: Path):
        assert process.stdout is not None
        self._stream = process.stdout
        self._path = path
        self.is_flooded = False
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        written = 0
        with open(self._path, "ab", buffering=0) as file:
            while block := os.read(self._stream.fileno(), 1 << 16):
                if written < MAX_OUTPUT_BYTES:
                    with contextlib.suppress(OSError):  # on a full disk the worker must not wait
                        file.write(block)
                written += len(block)
                self.is_flooded = written > MAX_OUTPUT_BYTES

    def tail(self, max_bytes: int = 2000) -> str:
        """The end of what the worker has written."""
        self._thread.join(0.5)
        text = self._path.read_bytes()[-max_bytes:] if self._path.exists() else b""
        return text.decode(errors="replace").strip()

    def close(self) -> None:
        """Waits for the last output; the processes that could write have ended."""
        self._thread.join(5)
        self._stream.close()


_PRIVATE_FOLDERS = (
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
        **{name: _private_folder(exchange_dir, name) for name in _PRIVATE_FOLDERS},
    }
    prepare_environment(framework, num_devices, environment)
    # Left by a torchrun around the referee; the worker's own torchrun sets them anew.
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        environment.pop(name, None)
    if framework == "pytorch" and num_devices > 1:
        cores = os.cpu_count() or 1
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // num_devices)))
    return environment


def describe_exit(returncode: int | None) -> str:
    """In words how a process ended."""
    if returncode is None:
        return "closed its connection"
    if returncode < 0:
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"exited with code {returncode}"
