"""The folder in memory through which arrays travel from the worker to the referee."""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from finishline.errors import InfrastructureError, RuleViolation

_TMPFS = Path("/dev/shm")
_PREFIX = "finishline-"
_LOCK = ".lock"
_HEADER_BYTES = 16 * 1024 * 1024
_FULL_BYTES = 1024 * 1024
_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)


class Exchange:
    """A fresh private folder, on tmpfs where there is one.

    The worker writes here, so names are the referee's own, links are not followed, sizes are
    bounded, and what has been read cannot change any more. As long as this object lives, a lock on
    a file in the folder tells other referees so, also those with other process numbers.

    Args:
      on_disk: whether the folder is on the disk even if there is a tmpfs.
    """

    def __init__(self, *, on_disk: bool = False) -> None:
        self.is_on_disk = on_disk or not os.access(_TMPFS, os.W_OK)
        parent = Path(tempfile.gettempdir()) if self.is_on_disk else _TMPFS
        _remove_orphans(parent)
        # Under its name the folder is never without its lock.
        unnamed = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}{os.getpid()}-", dir=parent))
        self._lock = open(unnamed / _LOCK, "w")  # noqa: SIM115 - held as long as this object
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = unnamed.rename(parent / unnamed.name.removeprefix("."))

    @property
    def socket_path(self) -> Path:
        """Where the referee listens."""
        return self.path / "socket"

    def free_bytes(self) -> int:
        """Room that is left on the file system of the folder."""
        return shutil.disk_usage(self.path).free

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
        self._lock.close()


@contextlib.contextmanager
def full_folder_is_told(folder: Path) -> Iterator[None]:
    """Says so if what is done here fails because there is no room in ``folder``.

    Raises:
      InfrastructureError: it does. Frameworks have errors of their own for it, hard to tell apart.
    """
    try:
        yield
    except Exception as error:
        is_told = "No space left" in str(error) or getattr(error, "errno", None) in _FULL_ERRORS
        if is_told or shutil.disk_usage(folder).free < _FULL_BYTES:
            raise InfrastructureError(
                f"{folder.parent} is full: a snapshot or the state for a checkpoint found no room; "
                "free space there, or give --nosave_checkpoints."
            ) from error
        raise


def _remove_orphans(parent: Path) -> None:
    """Deletes the folders of referees that were killed."""
    for path in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another referee may delete it at the same time
            if path.lstat().st_uid == os.getuid() and _is_orphan(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_orphan(path: Path) -> bool:
    lock = os.open(path / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
