"""Locks are complete, fit constraints.txt, and say what pip is to install."""

import re

import pytest

from finishline.containers.lock import (
    CONSTRAINTS,
    FOLDER,
    Lock,
    Platform,
    harness_requirements,
    load_lock,
    normalised,
)
from finishline.errors import UserError

TEXT = """# A comment.
numpy==2.4.6 \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
torch==2.13.0+cpu \\
    --hash=sha256:{a}
""".format(a="a" * 64, b="b" * 64)
LOCKS = sorted(FOLDER.glob("*.txt"), key=lambda path: path.name)


def test_reads_what_it_writes():
    lock = Lock.parse(TEXT)
    assert lock.versions == {"numpy": "2.4.6", "torch": "2.13.0+cpu"}
    assert lock.hashes["numpy"] == {"a" * 64, "b" * 64}
    assert lock.format() == TEXT.split("\n", 1)[1]
    assert Lock.parse(lock.format()) == lock


@pytest.mark.parametrize("line", ["numpy", "numpy>=2", "-e .", "numpy==2 --hash=md5:0"])
def test_what_is_no_pin_is_refused(line):
    with pytest.raises(ValueError, match="no pin"):
        Lock.parse(line)


def test_union_must_agree():
    one, other = Lock.parse("a==1\nb==1"), Lock.parse("b==1\nc==2")
    assert Lock.union([one, other]).versions == {"a": "1", "b": "1", "c": "2"}
    with pytest.raises(ValueError, match="c is 2 and 1"):
        Lock.union([Lock.parse("c==1"), other])
    assert other.without(["c"]) == Lock.parse("b==1")


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_locks_of_the_harness_are_current(path):
    """What setup.cfg requires is in the lock, by the versions of constraints.txt, with hashes."""
    framework, device, _ = path.stem.split("-")
    lock = Lock.parse(path.read_text())
    names = [re.split(r"[^\w.-]", line)[0] for line in harness_requirements(framework, device)]
    assert {normalised(name) for name in names} <= lock.versions.keys()
    assert all(lock.hashes.values())
    pins = dict(line.split("==") for line in CONSTRAINTS.read_text().splitlines() if "==" in line)
    for name, version in pins.items():
        held = lock.versions.get(normalised(name), version)
        assert held.split("+")[0] == version, f"{path}: {name}; run `make lock`"


def test_missing_lock_is_told_with_the_remedy():
    with pytest.raises(UserError, match=r"jax-cpu-py39.txt.*make lock LOCK_PYTHON=3.9"):
        load_lock(["jax"], "cpu", (3, 9))


def test_platform():
    platform = Platform.parse("3.12 aarch64 2.36")
    assert platform == Platform((3, 12), "aarch64", (2, 36))
    assert Platform.parse(str(platform)) == platform
    assert "--platform=manylinux_2_28_aarch64" in platform.pip_options
    assert "--platform=manylinux_2_37_aarch64" not in platform.pip_options
    assert "--abi=cp312" in platform.pip_options
