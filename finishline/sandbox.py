"""What the kernel keeps the worker from: writing elsewhere, and signals to others.

Linux's Landlock lets an ordinary process give up rights for itself and all that it starts, without
a container. The worker may write in its exchange folder, in shared memory and to devices; the
records, the data, the harness and the files of other trials are out of its reach, and so are the
memory of the referee and signals to it. Reading is not restricted: held-out data need a container.

Source: the kernel's documentation, userspace-api/landlock.
"""

import ctypes
import glob
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE = 1 << 1
_MAKE_DEVICES = 1 << 6 | 1 << 11
# Removing, and making files, folders, sockets, pipes and links.
_CHANGE_FOLDER = sum(1 << bit for bit in range(4, 13)) & ~_MAKE_DEVICES
_RENAME_ACROSS, _TRUNCATE = 1 << 13, 1 << 14  # from version 2 and 3 on
_SCOPE_SIGNALS = 1 << 1  # from version 6 on

_SHARED_MEMORY = "/dev/shm"
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/nvidia*", "/dev/dri/*")
SWITCH = "FINISHLINE_SANDBOX"


def landlock_version() -> int:
    """The version of Landlock that the kernel offers; 0 for none, or if it is switched off.

    From 1 on files are protected, from 6 on also other processes against signals. The environment
    variable ``FINISHLINE_SANDBOX=off`` switches it off.
    """
    if sys.platform != "linux" or os.environ.get(SWITCH) == "off":
        return 0
    version = _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    return max(0, version)


def confine(writable: Iterable[Path]) -> None:
    """From now on this process and all that it starts write below ``writable`` only.

    Shared memory and devices stay writable, but no new device can be made. Does nothing where the
    kernel has no Landlock.

    Raises:
      OSError: the kernel refuses.
    """
    version = landlock_version()
    if not version:
        return
    in_file = _WRITE_FILE | (_TRUNCATE if version >= 3 else 0)
    in_folder = in_file | _CHANGE_FOLDER | (_RENAME_ACROSS if version >= 2 else 0)
    # The handled file accesses, network accesses (none) and scopes; older kernels take less.
    handled = in_folder | _MAKE_DEVICES
    attributes = struct.pack("=QQQ", handled, 0, _SCOPE_SIGNALS if version >= 6 else 0)
    size = 24 if version >= 6 else 8
    ruleset = _checked(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    for path in [*map(str, writable), _SHARED_MEMORY]:
        _allow(ruleset, path, in_folder)
    for path in (found for pattern in _DEVICES for found in glob.glob(pattern)):
        _allow(ruleset, path, in_folder if os.path.isdir(path) else in_file)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _checked(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    if not os.path.exists(path):
        return
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", access, descriptor)
        _checked(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, 0)
    finally:
        os.close(descriptor)


def _syscall(number: int, *arguments: object) -> int:
    return ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments)


def _checked(number: int, *arguments: object) -> int:
    result = _syscall(number, *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock: {os.strerror(error)}")
    return result
