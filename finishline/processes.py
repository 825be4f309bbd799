"""The worker's process tree: freezing, thawing and ending all of it.

The referee makes itself the subreaper of its descendants, so that a process which a submission
starts stays in the tree even when it leaves its session and its parent dies. A stopped process can
arrange to be continued by the kernel (a timer that sends SIGCONT), so ``thaw`` also tells whether
anything ran while the clock stood still.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time

from finishline.errors import InfrastructureError, RuleViolation

_PR_SET_CHILD_SUBREAPER = 36
_DEAD = frozenset("ZX")
_STOPPED = frozenset("Tt") | _DEAD
_FREEZE_TIMEOUT = 10.0
_DEATH_TIMEOUT = 2.0
_SETTLE_TIMEOUT = 1.0
# A process that waits for the child it has just forked cannot stop before the child goes on.
_FORK_PATIENCE = 0.05

# CPU nanoseconds and number of time slices by thread.
_Threads = dict[int, tuple[int, int]]


def become_subreaper() -> None:
    """Makes orphaned descendants children of this process; does nothing outside Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class ProcessTree:
    """All descendants of this process but those that were there when the object was made.

    Raises:
      InfrastructureError: this system does not show its processes.
    """

    def __init__(self) -> None:
        become_subreaper()
        pid = os.getpid()
        if not _threads(pid) or not os.path.exists(f"/proc/{pid}/task/{pid}/children"):
            raise InfrastructureError(
                "This system's /proc shows neither child processes nor the time that threads have "
                "run, so that a worker could not be frozen; use a Linux kernel that does."
            )
        self._own = frozenset(_descendants(frozenset()))
        self._present: frozenset[int] = frozenset()
        self._frozen: dict[int, _Threads] = {}

    def pids(self) -> list[int]:
        """The processes that are there now."""
        return _descendants(self._own)

    def freeze(self) -> None:
        """Stops every process of the tree; returns when all have stopped.

        Raises:
          InfrastructureError: some process did not stop within 10 s.
          RuleViolation: some process goes on again and again.
        """
        started = time.monotonic()
        while running := [pid for pid in self.pids() if not _has_stopped(pid)]:
            for pid in running:
                _signal(pid, signal.SIGSTOP)
            waited = time.monotonic() - started
            if waited > _FREEZE_TIMEOUT:
                raise InfrastructureError(f"Processes {running} of the worker cannot be stopped.")
            if waited > _FORK_PATIENCE:
                _continue_children(running)
            time.sleep(0.0002)
        self._frozen = self._settled()
        self._present = frozenset(self.pids())

    def _settled(self) -> dict[int, _Threads]:
        """The counters of all threads once they stand still.

        A thread shows as stopped a moment before it leaves the processor for the last time.
        """
        before: dict[int, _Threads] = {}
        deadline = time.monotonic() + _SETTLE_TIMEOUT
        while (now := self._living()) != before:
            if time.monotonic() > deadline:
                raise RuleViolation("The worker goes on whenever it is stopped.")
            before = now
        return now

    def thaw(self) -> None:
        """Continues every process. If that is not right, nothing is continued.

        Raises:
          RuleViolation: a process ran or began.
          InfrastructureError: a process was killed.
        """
        deadline = time.monotonic() + _DEATH_TIMEOUT
        # Who has been killed runs a little before it ends, and may not have ended yet.
        while (active := self._active()) and time.monotonic() < deadline:
            time.sleep(0.001)
        if active:
            raise RuleViolation(f"Processes {active} of the worker ran while the clock was off.")
        if ended := sorted(self._frozen.keys() - self._living().keys()):
            raise InfrastructureError(
                f"Processes {ended} of the worker were killed while the clock was off."
            )
        for pid in self._frozen:
            _signal(pid, signal.SIGCONT)

    def _living(self) -> dict[int, _Threads]:
        return {pid: _threads(pid) for pid in self.pids() if not _has_ended(pid)}

    def _active(self) -> list[int]:
        """Processes that have begun, dead ones too, or have run since they were frozen."""
        begun = [pid for pid in self.pids() if pid not in self._present]
        living = self._living().items()
        return begun + [pid for pid, now in living if now != self._frozen.get(pid, now)]

    def kill(self) -> None:
        """Ends every process of the tree and reaps it."""
        deadline = time.monotonic() + _FREEZE_TIMEOUT
        while (pids := self.pids()) and time.monotonic() < deadline:
            for pid in pids:
                _signal(pid, signal.SIGKILL)
            for pid in pids:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.001)

    def peak_memory_bytes(self) -> int:
        """The sum of the processes' peak resident sizes, as far as they live."""
        return sum(peak_memory_bytes(pid) for pid in self.pids())


def peak_memory_bytes(pid: int | str = "self") -> int:
    """The peak resident size of one process in bytes, 0 where it cannot be read."""
    with contextlib.suppress(OSError):
        for line in _read(f"/proc/{pid}/status").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _descendants(excluded: frozenset[int]) -> list[int]:
    """All living descendants of this process, without ``excluded`` and what is below them."""
    found: list[int] = []
    open_ends = [os.getpid()]
    while open_ends:
        children = _children(open_ends.pop()) - excluded
        found.extend(children)
        open_ends.extend(children)
    return found


def _children(pid: int) -> frozenset[int]:
    children: set[int] = set()
    with contextlib.suppress(OSError):  # the process may end while it is looked at
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                children.update(map(int, _read(f"/proc/{pid}/task/{task}/children").split()))
    return frozenset(children)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _stat(pid: int, thread: int) -> list[str]:
    """State, parent and the further fields of a thread's stat file; empty if it is gone."""
    try:
        text = _read(f"/proc/{pid}/task/{thread}/stat")
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()  # the name before may hold spaces and brackets


def _state(pid: int, thread: int) -> str:
    stat = _stat(pid, thread)
    return stat[0] if stat else "X"


def _has_stopped(pid: int) -> bool:
    # The first thread alone tells nothing: it can end before the others.
    return all(_state(pid, thread) in _STOPPED for thread in _threads(pid))


def _has_ended(pid: int) -> bool:
    return all(_state(pid, thread) in _DEAD for thread in _threads(pid))


def _threads(pid: int) -> _Threads:
    found = {}
    with contextlib.suppress(OSError):
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            with contextlib.suppress(OSError):
                used, _, slices = _read(f"/proc/{pid}/task/{thread}/schedstat").split()
                found[thread] = int(used), int(slices)
    return found


def _continue_children(pids: list[int]) -> None:
    """Lets the stopped children of ``pids`` reach their ``exec``, for which vfork waits."""
    for pid in pids:
        for child in _children(pid):
            if _has_stopped(child):
                _signal(child, signal.SIGCONT)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
