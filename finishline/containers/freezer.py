"""Stops a container while the clock stands still, and tells whether anything ran meanwhile."""

import time

from docker.models.containers import Container

from finishline.containers.cgroup import Cgroup
from finishline.containers.engine import ENGINE_ERRORS
from finishline.errors import InfrastructureError, RuleViolation

_SETTLE_TIMEOUT = 1.0
_DEATH_TIMEOUT = 2.0


class Freezer:
    """Freezes and thaws a running container.

    By the kernel's files where this process may write them, or else by the engine. Nothing within
    a container can thaw it.

    Args:
      container: the container.
      cgroup: its control group, if it can be seen.

    Attributes:
      kind: 'cgroup v1', 'cgroup v2', or 'engine'.
    """

    def __init__(self, container: Container, cgroup: Cgroup | None):
        self._container = container
        self._cgroup = cgroup
        self._is_direct = cgroup is not None and cgroup.is_writable
        self._usage: int | None = None
        self.kind = f"cgroup v{cgroup.version}" if cgroup and self._is_direct else "engine"

    def freeze(self) -> None:
        """Returns when nothing runs any more.

        Raises:
          InfrastructureError: that cannot be done.
          RuleViolation: processor time is used on.
        """
        try:
            if self._cgroup is not None and self._is_direct:
                self._cgroup.freeze()
            else:
                self._container.pause()
            self._usage = self._settled_usage()
        except ENGINE_ERRORS as error:
            raise InfrastructureError(
                f"The worker's container cannot be frozen: {error!s:.300}"
            ) from error

    def _settled_usage(self) -> int | None:
        if self._cgroup is None:
            return None
        deadline = time.monotonic() + _SETTLE_TIMEOUT
        before, now = -1, self._cgroup.cpu_usage()
        while now != before:
            if time.monotonic() > deadline:
                raise RuleViolation("The worker goes on whenever it is stopped.")
            before, now = now, self._cgroup.cpu_usage()
        return now

    def thaw(self) -> None:
        """Lets the container go on. If anything ran while it was frozen, it stays so.

        Raises:
          RuleViolation: something ran.
          InfrastructureError: the container was ended, or cannot be thawed.
        """
        try:
            if self._has_run():
                raise RuleViolation("The worker's container ran while the clock was off.")
            self.release()
        except ENGINE_ERRORS as error:
            raise InfrastructureError(
                f"The worker's container was ended while the clock was off: {error!s:.300}"
            ) from error

    def _has_run(self) -> bool:
        if self._cgroup is None or self._cgroup.cpu_usage() == self._usage:
            return False
        # Who is killed runs a little before the end, and then the group's files are gone.
        deadline = time.monotonic() + _DEATH_TIMEOUT
        while time.monotonic() < deadline:
            if not self._cgroup.pids():
                raise InfrastructureError(
                    "The worker's container was ended while the clock was off."
                )
            time.sleep(0.01)
        return True

    def release(self) -> None:
        """Lets the container go on, whatever ran; does nothing if it is not frozen."""
        if self._cgroup is not None and self._is_direct:
            self._cgroup.thaw()
            return
        self._container.reload()
        if self._container.status == "paused":
            self._container.unpause()
