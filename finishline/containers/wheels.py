"""The wheels of a lock, in a folder of the user's cache."""

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from finishline.containers.lock import Lock, Platform, normalised
from finishline.digests import sha256_of
from finishline.errors import UserError


def cache_folder() -> Path:
    """Where wheels are kept: ``$XDG_CACHE_HOME/finishline/wheels``, by default in ``~/.cache``."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "finishline", "wheels")


def fetch_wheels(lock: Lock, platform: Platform, tell: Callable[[str], None]) -> list[Path]:
    """Downloads the wheels of ``lock`` that are not in the cache; returns the files of all.

    Args:
      lock: the packages. Every file is checked against its hashes, also if it was there.
      platform: of the image.
      tell: shows a sentence to a person.

    Raises:
      UserError: a wheel is not to be had, or is another than the lock's.
    """
    folder = cache_folder()
    with _locked(folder):
        found = _cached(lock, folder)
        missing = lock.without(found)
        if missing.versions:
            tell(f"Downloading {len(missing.versions)} packages to {folder}")
            _download(missing, platform, folder)
            found |= _cached(missing, folder)
        if rest := lock.without(found).versions:
            raise UserError(f"pip has downloaded {', '.join(sorted(rest))} under other names.")
    return sorted(found.values())


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Waits for other processes that change ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _cached(lock: Lock, folder: Path) -> dict[str, Path]:
    """The wheels in ``folder`` that ``lock`` allows, by normalised name of their package."""
    found = {}
    for path in folder.glob("*.whl"):
        name, version = path.name.split("-")[:2]
        name = normalised(name)
        if lock.versions.get(name) == version and sha256_of(path) in lock.hashes[name]:
            found[name] = path
    return found


def _download(lock: Lock, platform: Platform, folder: Path) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(lock.format())
        file.flush()
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
        command += ["--only-binary=:all:", "--disable-pip-version-check"]
        # On a terminal pip shows a bar for each file.
        command += [] if sys.stdout.isatty() else ["--quiet"]
        command += [f"--dest={folder}", *platform.pip_options, f"--requirement={file.name}"]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise UserError(
            f"pip cannot download the locked packages ({_last_error(done.stderr)}); check the "
            "network and pip's indexes; the CPU builds of PyTorch are in an index of its own, "
            "which PIP_EXTRA_INDEX_URL can name."
        )


def _last_error(output: str) -> str:
    errors = [line for line in output.splitlines() if line.startswith("ERROR: ")]
    return (errors or output.splitlines() or ["no message"])[-1].removeprefix("ERROR: ")
