"""What a container may use, and how sizes and sets of processors are written."""

import dataclasses
import re
from typing import Any

from finishline.errors import UserError

_KIB, _MIB, _GIB = 2**10, 2**20, 2**30
_UNITS = {"": 1, "k": _KIB, "m": _MIB, "g": _GIB, "t": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_CPUS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
# Less than this, and no framework can be imported.
_MIN_MEMORY, _MIN_PIDS = 256 * _MIB, 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What one container may use. The sizes are upper bounds and reserve nothing.

    Attributes:
      memory_bytes: memory, the private file systems below included, and no swap beyond it; None is
        three quarters of the machine's.
      cpus: the processors, such as "0-3,8"; None is all.
      pids: processes and threads.
      shm_bytes: ``/dev/shm``.
      scratch_bytes: ``/tmp``, with the home folder and all caches.
      gpus: the GPUs, by number or UUID; None is all that the machine has.
      inodes: files in ``/tmp``, and in the exchange folder.
      open_files: descriptors of one process.
    """

    memory_bytes: int | None = None
    cpus: str | None = None
    pids: int = 4096
    shm_bytes: int = 4 * _GIB
    scratch_bytes: int = 8 * _GIB
    gpus: tuple[str, ...] | None = None
    inodes: int = 200_000
    open_files: int = 4096

    def __post_init__(self) -> None:
        if self.memory_bytes is not None and self.memory_bytes < _MIN_MEMORY:
            raise UserError(
                f"--docker_memory={self.memory_bytes} bytes are too few to import a framework; "
                f"give at least {_MIN_MEMORY // _MIB}m."
            )
        if self.pids < _MIN_PIDS:
            raise UserError(
                f"--docker_pids={self.pids} are too few for a framework's threads; give at least "
                f"{_MIN_PIDS}, or leave the flag out for {Limits.pids}."
            )
        if self.cpus is not None:
            parse_cpus(self.cpus)

    @classmethod
    def parse(
        cls,
        *,
        memory: str | None = None,
        cpus: str | None = None,
        pids: int | None = None,
        shm_size: str | None = None,
        scratch_size: str | None = None,
        gpus: list[str] | None = None,
    ) -> "Limits":
        """The limits that flags give; what is None keeps its default.

        Raises:
          UserError: a value is no such limit.
        """
        given: dict[str, Any] = {
            "memory_bytes": memory and parse_size(memory, "--docker_memory"),
            "cpus": cpus,
            "pids": pids,
            "shm_bytes": shm_size and parse_size(shm_size, "--docker_shm_size"),
            "scratch_bytes": scratch_size and parse_size(scratch_size, "--docker_scratch_size"),
            "gpus": None if gpus is None else tuple(gpus),
        }
        return cls(**{name: value for name, value in given.items() if value is not None})

    def describe(self) -> dict[str, Any]:
        """All of it as JSON."""
        return dataclasses.asdict(self)

    def flags(self) -> dict[str, object]:
        """The flags that ``parse`` makes the same of; those that are None are left out."""
        gpus = self.gpus
        values = {
            "docker_memory": self.memory_bytes,
            "docker_cpus": self.cpus,
            "docker_pids": self.pids,
            "docker_shm_size": self.shm_bytes,
            "docker_scratch_size": self.scratch_bytes,
            "docker_gpus": None if gpus is None else ",".join(gpus) or "none",
        }
        return {name: value for name, value in values.items() if value is not None}


def parse_size(text: str, flag: str) -> int:
    """The bytes that ``text`` such as "512m", "1.5g" or "8GiB" stands for; units are of 1,024.

    Raises:
      UserError: it is no size, or 0.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size < 1:
        raise UserError(f"{flag}={text} is no size; write a number and k, m, g or t, such as 8g.")
    return size


def parse_cpus(text: str) -> list[int]:
    """The numbers of the processors that ``text`` such as "0-3,8" stands for.

    Raises:
      UserError: it is no set of processors.
    """
    found: list[int] = []
    if _CPUS.fullmatch(text):
        for part in text.split(","):
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    if not found or len(found) != len(set(found)):
        raise UserError(
            f"--docker_cpus={text} is no set of processors; write numbers and ranges, such as "
            "0-3,8."
        )
    return found


def format_size(size: int) -> str:
    """A number of bytes for people, such as "1.5 GiB"."""
    unit, name = (_GIB, "GiB") if size >= _GIB else (_MIB, "MiB")
    return f"{size / unit:.3g} {name}"
