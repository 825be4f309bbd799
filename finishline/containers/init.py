"""The first process of a container: starts the worker, reaps, and tells the engine how it ended.

Usage, in the container: ``python -m finishline.containers.init COMMAND...``. The kernel keeps every
signal from within a container from its first process, and this one lets no other look into it. So
if it is killed, that was done from outside; what ends the worker within is seen here.
"""

import ctypes
import os
import signal
import subprocess
import sys

from finishline.containers import seccomp
from finishline.ending import Cause, Ending, of_process
from finishline.launch_environment import PRIVATE_FOLDERS

# Exit codes of the container: below this the worker's own, from it on its signal. None is 137,
# which stands for a first process that was killed.
_SIGNALS = 64
_PR_SET_DUMPABLE = 4


def exit_code(returncode: int) -> int:
    """The container's exit code for the worker's return code as ``subprocess`` has it."""
    return _SIGNALS - returncode if returncode < 0 else min(returncode, _SIGNALS - 1)


def ending_of(code: int) -> Ending:
    """The worker's end, from the container's exit code."""
    if code <= _SIGNALS:
        return of_process(code)
    name = signal.Signals(code - _SIGNALS).name
    return Ending(Cause.EXITED, f"was ended by {name}, sent from within its container,")


def main(command: list[str]) -> int:
    """Runs the worker; returns the container's exit code."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's handler would make it count
    for name in PRIVATE_FOLDERS:
        os.makedirs(os.environ[name], exist_ok=True)
    seccomp.restrict()
    worker = subprocess.Popen(command)
    while True:
        pid, status = os.wait()
        if pid == worker.pid:
            return exit_code(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # Popen would wait for the worker again.
    os._exit(code)
