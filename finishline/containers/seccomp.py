"""What the kernel keeps a container's processes from, beside what the engine's own filter does.

Engines differ: those before Docker 23 let a container open a socket to the hypervisor (AF_VSOCK),
which no network namespace holds back, and io_uring opens sockets past any filter. So of sockets
only the families that a framework needs are allowed, no io_uring, and no calls by another
architecture's numbers.

Sources: the kernel's documentation, userspace-api/seccomp_filter; its uapi/linux/audit.h.
"""

import ctypes
import errno
import platform
import socket
import struct
from collections.abc import Iterator

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_LOAD, _IS_EQUAL, _IS_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# Offsets in struct seccomp_data; of an argument the lower half, on machines that store it first.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16

# By machine: the audit number of its architecture, and the number of the call ``socket``.
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_IO_URING_SETUP = 425  # on all architectures
_X32_CALLS = 0x40000000  # and above: on x86-64, those by another interface
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def restrict() -> None:
    """From now on this process and all that it starts are under the filter.

    Does nothing on machines other than x86-64 and 64-bit ARM. Needs no rights, but no_new_privs.

    Raises:
      OSError: the kernel refuses.
    """
    machine = platform.machine()
    if machine not in _MACHINES:
        return
    code = b"".join(_filter(*_MACHINES[machine]))
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "The kernel takes no seccomp filter")


def _filter(architecture: int, socket_call: int) -> Iterator[bytes]:
    """The instructions; a jump goes on after as many instructions as its two numbers say."""
    yield _instruction(_LOAD, _ARCHITECTURE)
    yield _instruction(_IS_EQUAL, architecture, 1, 0)
    yield _instruction(_RETURN, _ERROR | errno.ENOSYS)
    yield _instruction(_LOAD, _NUMBER)
    yield _instruction(_IS_AT_LEAST, _X32_CALLS, 1, 0)
    yield _instruction(_IS_EQUAL, _IO_URING_SETUP, 0, 1)
    yield _instruction(_RETURN, _ERROR | errno.ENOSYS)
    yield _instruction(_IS_EQUAL, socket_call, 1, 0)
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_LOAD, _FIRST_ARGUMENT)
    for left, family in zip(reversed(range(len(_FAMILIES))), _FAMILIES, strict=True):
        yield _instruction(_IS_EQUAL, family, left + 1, 0)
    yield _instruction(_RETURN, _ERROR | errno.EAFNOSUPPORT)
    yield _instruction(_RETURN, _ALLOW)


def _instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)
