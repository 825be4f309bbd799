"""The folder of one attempt at a trial: it says whose a container is, and holds the exchange.

``/dev/shm/finishline.attempt-.../exchange`` is what the container sees; the lock beside it, out of
the container's sight, is held as long as the organizer's process lives. The container carries the
folder's path and place as labels, so that whoever comes later can tell whether it is an orphan.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from finishline.containers.limits import format_size
from finishline.errors import InfrastructureError
from finishline.exchange import Exchange, is_orphan, make_locked_folder, orphans

_MEMORY = Path("/dev/shm")
_PREFIX = "finishline.attempt-"
_EXCHANGE = "exchange"


class ContainerExchange(Exchange):
    """An exchange folder for one container, which its user owns.

    Where the organizer is root, it is a file system of its own in memory, with limits on its size
    and its number of files; elsewhere a plain folder in memory, which the container's memory limit
    bounds. Its pages count as the container's memory.

    Args:
      owner: user and group of the container.
      size_bytes: what fits into it.
      inodes: how many files.

    Attributes:
      attempt: the folder around it.
      owner: as given.
    """

    def __init__(self, owner: tuple[int, int], size_bytes: int, inodes: int):
        parent = _parent()
        self.is_on_disk = parent != _MEMORY
        self.owner = owner
        self.attempt, self._lock = make_locked_folder(parent, _PREFIX)
        self.path = self.attempt / _EXCHANGE
        self.path.mkdir(mode=0o700)
        self._size, self._inodes = size_bytes, inodes
        self._is_mounted = os.getuid() == 0 and self._mount()
        self.hand_over(self.path)
        self.remedy = f"give a higher --docker_memory than {format_size(2 * size_bytes)}"

    def _mount(self) -> bool:
        uid, gid = self.owner
        options = (
            f"size={self._size},nr_inodes={self._inodes},mode=0700,uid={uid},gid={gid},"
            "nosuid,nodev,noexec"
        )
        command = ["mount", "-t", "tmpfs", "-o", options, "finishline", str(self.path)]
        return subprocess.run(command, capture_output=True).returncode == 0

    @property
    def is_last_resort(self) -> bool:
        """A container gets no folder on the disk, which nothing would bound."""
        return True

    def hand_over(self, path: Path) -> None:
        """Gives a file or folder to the container's user."""
        try:
            os.chown(path, *self.owner, follow_symlinks=False)
        except OSError as error:
            raise InfrastructureError(f"{path} cannot be handed over: {error.strerror}.") from error

    def describe(self) -> dict[str, Any]:
        """What kind of folder it is."""
        if not self._is_mounted:
            return {"kind": "folder on disk" if self.is_on_disk else "folder in memory"}
        return {"kind": "tmpfs", "size_bytes": self._size, "inodes": self._inodes}

    def remove(self) -> None:
        """Takes the file system and the folders away; the container must be gone."""
        remove_folder(self.attempt)
        self._lock.close()


def _parent() -> Path:
    return _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())


def place_of(attempt: Path) -> str:
    """Machine, boot and file system of an attempt's folder.

    Where they are the same, the folder can be looked at; from within another container that uses
    the same engine, it cannot.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()} {boot} {attempt.parent.stat().st_dev}"


def is_abandoned(attempt: Path, place: str) -> bool:
    """Whether the organizer of an attempt is known to be dead.

    Args:
      attempt: its folder.
      place: where that is, by ``place_of``.
    """
    try:
        here = place_of(attempt)
    except OSError:
        return False
    if place != here:
        machine, boot, _ = place.rsplit(" ", 2)
        return machine == here.rsplit(" ", 2)[0] and boot != here.rsplit(" ", 2)[1]
    try:
        return is_orphan(attempt)
    except OSError:
        return True  # who removes the folder has been at work, and did not finish


def abandoned_folders() -> list[Path]:
    """The folders of organizers that were killed."""
    return orphans(_parent(), _PREFIX)


def remove_folder(attempt: Path) -> None:
    """Takes an attempt's file system and folders away, as far as they are there."""
    exchange = attempt / _EXCHANGE
    # Only root can have mounted one; elsewhere the calls fail.
    with contextlib.suppress(OSError):
        for options in ([], ["-l"]):
            if os.path.ismount(exchange):
                subprocess.run(["umount", *options, str(exchange)], capture_output=True)
    shutil.rmtree(attempt, ignore_errors=True)
