"""Locks: files that name all packages of an image by version and SHA-256.

The locks of the harness lie in ``docker/requirements/``, one for each framework, device and version
of Python; ``python -m finishline.containers.lock`` makes them anew from ``setup.cfg`` and
``constraints.txt``. They are files that pip installs with ``--require-hashes``.
"""

import configparser
import dataclasses
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from finishline.errors import UserError

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docker" / "requirements"
CONSTRAINTS = ROOT / "constraints.txt"
DEVICES = ("cpu", "gpu")
# What a worker needs beyond its framework: to read prepared training data, and for submissions, our
# own and those written for AlgoPerf.
_EXTRAS = {"jax": ("imagenet", "compat"), "pytorch": ("imagenet", "submissions")}

_PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?P<hashes>( +--hash=sha256:\w{64})*) *$")


@dataclasses.dataclass(frozen=True)
class Lock:
    """Packages with their versions and the SHA-256 of the wheels that will do.

    Attributes:
      versions: version by normalised name.
      hashes: hexadecimal digests by normalised name; pip takes a wheel with any of them.
    """

    versions: Mapping[str, str]
    hashes: Mapping[str, frozenset[str]]

    @classmethod
    def parse(cls, text: str) -> "Lock":
        """Reads what ``format`` wrote; ``ValueError`` for a line of another kind."""
        versions, hashes = {}, {}
        for line in text.replace("\\\n", " ").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            match = _PIN.match(line)
            if match is None:
                raise ValueError(f"{line!r} is no pin")
            name = normalised(match["name"])
            versions[name] = match["version"]
            hashes[name] = frozenset(re.findall(r"sha256:(\w+)", match["hashes"]))
        return cls(versions, hashes)

    @classmethod
    def union(cls, locks: Iterable["Lock"]) -> "Lock":
        """All packages of several locks, which must agree on versions."""
        versions: dict[str, str] = {}
        hashes: dict[str, frozenset[str]] = {}
        for lock in locks:
            for name, version in lock.versions.items():
                if versions.setdefault(name, version) != version:
                    raise ValueError(f"{name} is {version} and {versions[name]}")
                hashes[name] = hashes.get(name, frozenset()) | lock.hashes[name]
        return cls(versions, hashes)

    def without(self, names: Iterable[str]) -> "Lock":
        """The packages whose names are not in ``names``."""
        rest = self.versions.keys() - set(names)
        return Lock(
            {name: self.versions[name] for name in rest}, {name: self.hashes[name] for name in rest}
        )

    def format(self) -> str:
        """A requirements file, in alphabetical order, for ``pip install --require-hashes``."""
        return "".join(
            f"{name}=={version}"
            + "".join(f" \\\n    --hash=sha256:{digest}" for digest in sorted(self.hashes[name]))
            + "\n"
            for name, version in sorted(self.versions.items())
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the file, hexadecimal."""
        return hashlib.sha256(self.format().encode()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Platform:
    """What decides which wheels fit an interpreter on Linux.

    Attributes:
      python: version of Python, such as ``(3, 11)``.
      machine: architecture, such as 'x86_64'.
      glibc: version of the C library, such as ``(2, 36)``.
    """

    python: tuple[int, int]
    machine: str
    glibc: tuple[int, int]

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """Reads what ``str`` wrote, such as '3.11 x86_64 2.36'."""
        python, machine, glibc = text.split()
        return cls(_version(python), machine, _version(glibc))

    def __str__(self) -> str:
        return f"{self.python[0]}.{self.python[1]} {self.machine} {self.glibc[0]}.{self.glibc[1]}"

    @property
    def pip_options(self) -> list[str]:
        """The options that make pip choose wheels for this platform instead of its own."""
        major, minor = self.python
        tags = [f"manylinux_2_{n}_{self.machine}" for n in range(self.glibc[1], 4, -1)]
        tags += [f"{old}_{self.machine}" for old in ("manylinux2014", "manylinux2010", "linux")]
        return [
            f"--python-version={major}.{minor}",
            "--implementation=cp",
            *(f"--abi={abi}" for abi in (f"cp{major}{minor}", "abi3", "none")),
            *(f"--platform={tag}" for tag in tags),
        ]


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")[:2]
    return int(major), int(minor)


def normalised(name: str) -> str:
    """A package's name as the Python package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lock_path(framework: str, device: str, python: tuple[int, int]) -> Path:
    """Where the lock of one framework lies."""
    return FOLDER / f"{framework}-{device}-py{python[0]}{python[1]}.txt"


def load_lock(frameworks: Sequence[str], device: str, python: tuple[int, int]) -> Lock:
    """The lock of an image with ``frameworks``.

    Raises:
      UserError: there is none for this version of Python.
    """
    paths = [lock_path(framework, device, python) for framework in frameworks]
    for path in paths:
        if not path.is_file():
            version = ".".join(map(str, python))
            raise UserError(
                f"There is no {path}, so an image with Python {version} cannot be built; make it "
                f"with `make lock LOCK_PYTHON={version} LOCK_DEVICE={device}`, or use a base image "
                "with another Python."
            )
    return Lock.union(Lock.parse(path.read_text()) for path in paths)


def resolve(
    requirements: Sequence[str], constraints: Sequence[str], platform: Platform
) -> tuple[Lock, str]:
    """Lets pip choose versions and wheels for ``platform``; installs nothing.

    Returns:
      The lock of all that is required, also indirectly, and ''. If there is no solution, an empty
      lock and what pip says.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted, limits, report = (Path(folder, name) for name in ("in.txt", "limits.txt", "out"))
        wanted.write_text("\n".join(requirements))
        limits.write_text("\n".join(constraints))
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["--only-binary=:all:", "--disable-pip-version-check"]
        command += [f"--report={report}", f"--target={folder}/none", *platform.pip_options]
        command += [f"--constraint={limits}", f"--requirement={wanted}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            return Lock({}, {}), done.stdout + done.stderr
        return _locked(json.loads(report.read_text())["install"]), ""


def _locked(installs: list[dict[str, Any]]) -> Lock:
    versions, hashes = {}, {}
    for install in installs:
        name = normalised(install["metadata"]["name"])
        versions[name] = install["metadata"]["version"]
        hashes[name] = frozenset([install["download_info"]["archive_info"]["hashes"]["sha256"]])
    return Lock(versions, hashes)


def harness_requirements(framework: str, device: str) -> list[str]:
    """The requirements in ``setup.cfg`` that a worker has, without versions' pins."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    extras = parser["options.extras_require"]
    lists = [parser["options"]["install_requires"], extras[f"{framework}_{device}"]]
    lists += [extras[name] for name in _EXTRAS[framework]]
    lines = [line.strip() for text in lists for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _lock_harness(framework: str, device: str, platform: Platform) -> None:
    path = lock_path(framework, device, platform.python)
    constraints = CONSTRAINTS.read_text().splitlines()
    lock, problem = resolve(harness_requirements(framework, device), constraints, platform)
    if problem:
        raise UserError(f"pip finds no packages for {path.name}: {problem.strip()[-500:]}")
    header = "# All packages of a worker, made by `make lock` from setup.cfg and constraints.txt.\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + lock.format())
    print(f"{path}: {len(lock.versions)} packages")


def main(argv: list[str]) -> int:
    """Writes the locks that the flags name."""
    del argv
    platform = Platform.parse(f"{flags.FLAGS.python_version} {flags.FLAGS.machine} 2.36")
    for device in flags.FLAGS.devices:
        for framework in flags.FLAGS.frameworks:
            _lock_harness(framework, device, platform)
    return 0


if __name__ == "__main__":
    from finishline import commandline
    from finishline.frameworks import FRAMEWORKS

    flags.DEFINE_multi_enum("frameworks", list(FRAMEWORKS), list(FRAMEWORKS), "Frameworks.")
    flags.DEFINE_multi_enum("devices", ["cpu"], list(DEVICES), "Devices.")
    flags.DEFINE_string("python_version", "3.11", "Version of Python in the image.")
    flags.DEFINE_string("machine", "x86_64", "Architecture of the image.")
    commandline.run(main)
