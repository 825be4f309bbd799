"""A worker in a container: its end, its output, its freezing and its removal."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import docker
from docker import errors
from docker.models.containers import Container

from finishline.containers.attempts import ContainerExchange
from finishline.containers.cgroup import Cgroup
from finishline.containers.engine import ENGINE_ERRORS
from finishline.containers.freezer import Freezer
from finishline.containers.guard import Guard
from finishline.containers.init import ending_of
from finishline.containers.inspection import describe_container
from finishline.containers.limits import format_size
from finishline.containers.orphans import remove_container
from finishline.ending import Cause, Ending
from finishline.output import OutputFile

_POLL_PERIOD = 0.05
# What a first process has that was killed; the worker's own codes are others.
_KILLED_CODE = 128 + signal.SIGKILL


class ContainerWorker:
    """A container that has been started.

    Args:
      client: the engine.
      container: the container, running.
      exchange: its exchange folder.
      guard: cleans up if this process dies.
      output: what it prints.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        container: Container,
        exchange: ContainerExchange,
        guard: Guard,
        output: OutputFile,
    ):
        self.output = output
        self._client = client
        self._container = container
        self._exchange = exchange
        self._guard = guard
        container.reload()
        self._pid = container.attrs["State"]["Pid"]
        self._cgroup = self._find_cgroup()
        self._freezer = Freezer(container, self._cgroup)
        self._ending: Ending | None = None
        self._is_removed = False

    def _find_cgroup(self) -> Cgroup | None:
        with contextlib.suppress(OSError):  # it may have ended already
            return Cgroup.of(self._pid) if self._pid else None
        return None

    def pids(self) -> list[int]:
        """The container's processes, by their numbers on this machine."""
        try:
            if self._cgroup is not None:
                return self._cgroup.pids()
            columns = self._container.top(ps_args="-eo pid")
            return [int(row[0]) for row in columns["Processes"]]
        except ENGINE_ERRORS:
            return []  # it has ended

    def ending(self, timeout: float = 0.0) -> Ending | None:
        """How it ended, by what the engine says; None if it has not after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self._ending is None:
            self._ending = self._ask_ending()
            if time.monotonic() >= deadline:
                break
            time.sleep(_POLL_PERIOD)
        return self._ending

    def _ask_ending(self) -> Ending | None:
        try:
            self._container.reload()
        except errors.NotFound:
            return Ending(Cause.KILLED, "was removed from outside")
        except ENGINE_ERRORS as error:
            return Ending(Cause.KILLED, f"was lost with the Docker engine ({error!s:.200})")
        state = self._container.attrs["State"]
        if state["Status"] not in ("exited", "dead"):
            return None
        if state["OOMKilled"]:
            limit = format_size(self._container.attrs["HostConfig"]["Memory"])
            return Ending(
                Cause.OUT_OF_MEMORY, f"used more than its memory limit of {limit} (--docker_memory)"
            )
        if state["ExitCode"] == _KILLED_CODE:
            return Ending(Cause.KILLED, "was ended from outside its container by SIGKILL")
        return ending_of(state["ExitCode"])

    def freeze(self) -> None:
        """Stops the container; see ``Freezer.freeze``."""
        self._freezer.freeze()

    def thaw(self) -> None:
        """Lets the container go on; see ``Freezer.thaw``."""
        self._freezer.thaw()

    def peak_memory_bytes(self) -> int:
        """The most memory that the container has used, its private file systems included."""
        return self._cgroup.peak_memory_bytes() if self._cgroup else 0

    def describe(self) -> dict[str, Any]:
        """The container as the engine's inspection reports it."""
        return {
            **describe_container(self._client, self._container.attrs),
            "exchange": self._exchange.describe(),
            "freezer": self._freezer.kind,
        }

    def kill(self) -> None:
        """Ends and removes the container; if the engine does not answer, the guard goes on."""
        if self._is_removed:
            return
        self._is_removed = True
        try:
            remove_container(self._container)
        except ENGINE_ERRORS:
            self._kill_processes()
            self._guard.leave()
        else:
            self._guard.dismiss()
        self.output.close()
        self._client.close()

    def _kill_processes(self) -> None:
        """Ends the processes without the engine, as far as this user may."""
        pids = self.pids()
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(*ENGINE_ERRORS):
            self._freezer.release()


def read_output(stream: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks of a container's output; ends with it, or with the engine."""
    with contextlib.suppress(*ENGINE_ERRORS):
        yield from stream
