"""The folder in memory through which arrays travel from the worker to the referee."""

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

from finishline.errors import InfrastructureError, RuleViolation

_TMPFS = Path("/dev/shm")
_PREFIX = "finishline-"
_HEADER_BYTES = 16 * 1024 * 1024


class Exchange:
    """A fresh private folder, on tmpfs where there is one.

    The worker writes here, so names are the referee's own, links are not followed, sizes are
    bounded, and what has been read cannot change any more.
    """

    def __init__(self) -> None:
        parent = _TMPFS if os.access(_TMPFS, os.W_OK) else None
        prefix = f"{_PREFIX}{os.getpid()}-"
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        _remove_orphans(self.path.parent)

    def read(self, name: str, array_bytes: int) -> bytes:
        """The bytes of a file with ``array_bytes`` bytes of arrays and a header.

        Raises:
          RuleViolation: it is no regular file of about that size.
        """
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise RuleViolation(f"The worker announced {name} but there is none.") from error
        limit = array_bytes + _HEADER_BYTES
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            os.close(descriptor)
            raise RuleViolation(f"The worker's {name} is no regular file of at most {limit} bytes.")
        with open(descriptor, "rb") as file:
            return file.read(limit)

    def put(self, source: Path, name: str) -> None:
        """Copies a file into the folder."""
        try:
            shutil.copyfile(source, self.path / name)
        except OSError as error:
            raise InfrastructureError(f"{source} cannot be copied: {error.strerror}.") from error

    def files(self, pattern: str) -> list[Path]:
        """Regular files that match ``pattern``, links left out."""
        return sorted(p for p in self.path.glob(pattern) if p.is_file() and not p.is_symlink())

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def _remove_orphans(parent: Path) -> None:
    """Deletes the folders of referees that were killed."""
    for path in parent.glob(f"{_PREFIX}[0-9]*-*"):
        pid = path.name.removeprefix(_PREFIX).split("-")[0]
        with contextlib.suppress(OSError):  # another referee may delete it at the same time
            if path.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(path, ignore_errors=True)
