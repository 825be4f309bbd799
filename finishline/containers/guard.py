"""Cleans up after an organizer that dies: a process of its own, started with each container.

Usage: ``python -m finishline.containers.guard ATTEMPT_FOLDER``. Standard input is a pipe whose
other end only the organizer holds. A line says that all is clean; without one, at the end of the
pipe, the guard removes what carries the attempt's label. It has a session of its own, so that
signals to the organizer's terminal or group do not reach it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from finishline.containers.attempts import remove_folder
from finishline.containers.engine import ENGINE_ERRORS, connect
from finishline.containers.orphans import remove_attempt
from finishline.errors import UserError
from finishline.launch_environment import search_path

# How long an engine may be away, and how often it is asked. Seconds.
_PATIENCE, _PERIOD = 900.0, 1.0
# A request to create the container may have been on its way.
_ROUNDS = 3
_CLEAN = b"clean\n"


class Guard:
    """The organizer's end of a guard.

    Args:
      attempt: the folder of the attempt.
    """

    def __init__(self, attempt: Path):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "finishline.containers.guard", str(attempt)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": search_path()},
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """Ends the guard: all is clean."""
        if self._process.returncode is None:
            self._process.communicate(_CLEAN)

    def leave(self) -> None:
        """Lets the guard clean up, because the engine does not answer now; does not wait."""
        assert self._process.stdin is not None
        self._process.stdin.close()


def watch(attempt: Path) -> None:
    """Waits for the organizer's end, and cleans up if it has not."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if sys.stdin.buffer.read() == _CLEAN:
        return
    deadline = time.monotonic() + _PATIENCE
    for _ in range(_ROUNDS):
        _clean(attempt, deadline)
        time.sleep(_PERIOD)
    remove_folder(attempt)  # also without an engine


def _clean(attempt: Path, deadline: float) -> None:
    while time.monotonic() < deadline:
        try:
            with contextlib.closing(connect()) as client:
                return remove_attempt(client, attempt)
        except (UserError, *ENGINE_ERRORS):
            time.sleep(_PERIOD)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
