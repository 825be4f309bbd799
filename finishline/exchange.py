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
from typing import TextIO

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

    Attributes:
      path: the folder.
      is_on_disk: whether it is on the disk.
      remedy: what to do if it has too little room.
    """

    path: Path
    remedy = "free space there, or set TMPDIR to another folder"

    def __init__(self, *, on_disk: bool = False) -> None:
        self.is_on_disk = on_disk or not os.access(_TMPFS, os.W_OK)
        parent = Path(tempfile.gettempdir()) if self.is_on_disk else _TMPFS
        _remove_orphans(parent)
        self.path, self._lock = make_locked_folder(parent, _PREFIX)

    @property
    def is_last_resort(self) -> bool:
        """Whether no other folder could have more room."""
        return self.is_on_disk

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
            descriptor = self._open(name)
        except OSError as error:
            raise RuleViolation(f"The worker announced {name} but there is none.") from error
        limit = array_bytes + _HEADER_BYTES
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            os.close(descriptor)
            raise RuleViolation(f"The worker's {name} is no regular file of at most {limit} bytes.")
        with open(descriptor, "rb") as file:
            return file.read(limit)

    def _open(self, name: str) -> int:
        # A worker can put a link in the place of the folder, too.
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)

    def put(self, source: Path, name: str) -> None:
        """Copies a file into the folder."""
        try:
            shutil.copyfile(source, self.path / name)
        except OSError as error:
            raise InfrastructureError(f"{source} cannot be copied: {error.strerror}.") from error
        self.hand_over(self.path / name)

    def hand_over(self, path: Path) -> None:
        """Makes a file of the folder the worker's, if that is another user."""

    def files(self, pattern: str) -> list[Path]:
        """Regular files that match ``pattern``, links left out."""
        if self.path.is_symlink():
            return []
        return sorted(p for p in self.path.glob(pattern) if p.is_file() and not p.is_symlink())

    def remove(self) -> None:
        """Deletes the folder."""
        if self.path.is_symlink():
            self.path.unlink()
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


def make_locked_folder(parent: Path, prefix: str) -> tuple[Path, TextIO]:
    """A fresh private folder in ``parent``, and a lock on it: a file to be kept open."""
    # Under its name the folder is never without its lock.
    unnamed = Path(tempfile.mkdtemp(prefix=f".{prefix}{os.getpid()}-", dir=parent))
    lock = open(unnamed / _LOCK, "w")  # noqa: SIM115 - held as long as the folder is used
    fcntl.flock(lock, fcntl.LOCK_EX)
    return unnamed.rename(parent / unnamed.name.removeprefix(".")), lock


def _remove_orphans(parent: Path) -> None:
    """Deletes the folders of referees that were killed."""
    for path in orphans(parent, _PREFIX):
        shutil.rmtree(path, ignore_errors=True)


def orphans(parent: Path, prefix: str) -> list[Path]:
    """This user's folders in ``parent`` from ``make_locked_folder`` that nobody holds any more."""
    found = []
    for path in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # another referee may delete it at the same time
            if path.lstat().st_uid == os.getuid() and is_orphan(path):
                found.append(path)
    return found


def is_orphan(path: Path) -> bool:
    """Whether nobody holds the lock on a folder from ``make_locked_folder``.

    Raises:
      OSError: the folder is gone.
    """
    lock = os.open(path / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
