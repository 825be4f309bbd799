"""The control group of a container: its processes, what they have used, and its freezer.

The kernel stops all processes of a group at once, and none of them can undo it. Writing to the
group's own files takes a millisecond; the same by the engine, which starts a program for it, takes
twenty, and they count on the clock.

Source: the kernel's documentation, admin-guide/cgroup-v1/freezer-subsystem and cgroup-v2.
"""

import dataclasses
import os
import time
from pathlib import Path

from finishline.errors import InfrastructureError

_FREEZE_TIMEOUT = 10.0
_SLEEP = 0.0002


@dataclasses.dataclass(frozen=True)
class Cgroup:
    """Files of a group, in version 1 or 2.

    Attributes:
      version: 1 or 2.
      procs: lists the processes.
      usage: has the processor time used so far, by all that ever was in the group.
      peak: has the most memory used so far, in bytes.
      switch: freezes and thaws.
      state: tells whether all are frozen.
    """

    version: int
    procs: Path
    usage: Path
    peak: Path
    switch: Path
    state: Path

    @classmethod
    def of(cls, pid: int) -> "Cgroup | None":
        """The group of a process, or None if this system does not show it."""
        places = _places(pid)
        if "freezer" in places and {"cpuacct", "memory"} <= places.keys():
            freezer = places["freezer"]
            group = cls(
                version=1,
                procs=freezer / "cgroup.procs",
                usage=places["cpuacct"] / "cpuacct.usage",
                peak=places["memory"] / "memory.max_usage_in_bytes",
                switch=freezer / "freezer.state",
                state=freezer / "freezer.state",
            )
        elif "" in places:
            unified = places[""]
            group = cls(
                version=2,
                procs=unified / "cgroup.procs",
                usage=unified / "cpu.stat",
                peak=unified / "memory.peak",
                switch=unified / "cgroup.freeze",
                state=unified / "cgroup.events",
            )
        else:
            return None
        is_shown = group.procs.is_file() and group.usage.is_file() and group.switch.is_file()
        return group if is_shown else None

    @property
    def is_writable(self) -> bool:
        """Whether this process may freeze the group by itself."""
        return os.access(self.switch, os.W_OK)

    def pids(self) -> list[int]:
        """Its processes now, by their numbers here."""
        return [int(line) for line in self.procs.read_text().split()]

    def cpu_usage(self) -> int:
        """Processor time used so far: nanoseconds in version 1, microseconds in version 2."""
        return int(self.usage.read_text().split()[0 if self.version == 1 else 1])

    def peak_memory_bytes(self) -> int:
        """The most memory used so far; 0 where the kernel does not tell."""
        try:
            return int(self.peak.read_text())
        except (OSError, ValueError):
            return 0

    def is_frozen(self) -> bool:
        """Whether all processes stand still."""
        words = self.state.read_text().split()
        if self.version == 1:
            return words == ["FROZEN"]
        return words[words.index("frozen") + 1] == "1"

    def freeze(self) -> None:
        """Stops all processes; returns when they stand still.

        Raises:
          InfrastructureError: they do not within 10 s.
        """
        deadline = time.monotonic() + _FREEZE_TIMEOUT
        self.switch.write_text("FROZEN" if self.version == 1 else "1")
        while not self.is_frozen():
            if time.monotonic() > deadline:
                raise InfrastructureError("The worker's container cannot be frozen.")
            time.sleep(_SLEEP)

    def thaw(self) -> None:
        """Lets all processes go on."""
        self.switch.write_text("THAWED" if self.version == 1 else "0")


def _places(pid: int) -> dict[str, Path]:
    """The folder of a process's group in each hierarchy, by controller; '' is version 2's."""
    mounts = _hierarchies()
    places = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in mounts:
                places[controller] = mounts[controller] / path.lstrip("/")
    return places


def _hierarchies() -> dict[str, Path]:
    """Where each hierarchy is mounted, by controller; '' is version 2's."""
    found: dict[str, Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        place = Path(fields.split()[4])
        if kind == "cgroup2":
            found.setdefault("", place)
        elif kind == "cgroup":
            for name in options.split(","):
                found.setdefault(name, place)
    return found
