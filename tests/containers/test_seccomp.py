"""The filter holds for the process that installs it and for its children."""

import subprocess
import sys

import pytest

_PROGRAM = """
import ctypes, os, socket, subprocess, sys
from finishline.containers import seccomp

def outcome(action):
    try:
        action().close()
        return "allowed"
    except OSError as error:
        return os.strerror(error.errno)

libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
if "restrict" in sys.argv:
    seccomp.restrict()
for name in ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK", "AF_VSOCK", "AF_PACKET", "AF_ALG"):
    kind = socket.SOCK_RAW if name == "AF_NETLINK" else socket.SOCK_STREAM
    print(name, outcome(lambda: socket.socket(getattr(socket, name), kind)))
libc.syscall(425, 1, None)
print("io_uring_setup", os.strerror(ctypes.get_errno()))
status = subprocess.check_output(["cat", "/proc/self/status"], text=True)
print("child", status.split("Seccomp:")[1].split()[0])
"""
_REFUSED = "Address family not supported by protocol"


def run(how: str) -> dict[str, str]:
    command = [sys.executable, "-c", _PROGRAM, how]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    return run("restrict")


@pytest.mark.parametrize("family", ["AF_UNIX", "AF_INET", "AF_NETLINK"])
def test_what_frameworks_need_is_allowed(outcomes, family):
    assert outcomes[family] == "allowed"


@pytest.mark.parametrize("family", ["AF_VSOCK", "AF_PACKET", "AF_ALG"])
def test_other_families_are_refused(outcomes, family):
    assert outcomes[family] == _REFUSED


def test_io_uring_is_refused(outcomes):
    assert outcomes["io_uring_setup"] == "Function not implemented"


def test_children_are_under_it(outcomes):
    assert outcomes["child"] == "2"


def test_without_it_there_is_io_uring():
    outcomes = run("leave")
    if outcomes["child"] != "0":
        pytest.skip("the tests themselves run under a filter")
    assert outcomes["io_uring_setup"] != "Function not implemented"
