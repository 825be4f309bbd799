"""Starts a program that dies with its parent and can write to few places.

Usage: ``python -m finishline.tether PARENT_PID WRITABLE_FOLDER COMMAND...``. Tie and confinement
outlive ``exec``.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

from finishline import sandbox

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Asks the kernel for a signal when the parent dies, also if this process is frozen then."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it died before it could be asked for
        os.kill(os.getpid(), number)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    sandbox.confine([Path(sys.argv[2])])
    os.execv(sys.argv[3], sys.argv[3:])
