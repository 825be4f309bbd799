"""The sources of the harness itself: what runs outside of a submission."""

import functools
import hashlib
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_PLACES = ("finishline", "workloads", "submission_runner.py")
_SUFFIXES = (".py", ".toml")


def source_files() -> list[Path]:
    """Code and numbers of the harness and the workloads, sorted."""
    found = [_ROOT / place for place in _PLACES if (_ROOT / place).is_file()]
    for place in _PLACES:
        found += [path for path in (_ROOT / place).rglob("*") if path.suffix in _SUFFIXES]
    return sorted(found)


@functools.cache
def source_hash() -> str:
    """SHA-256 of names and contents, as they are when a process first asks; hexadecimal."""
    digest = hashlib.sha256()
    for path in source_files():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(_ROOT)}\0{content}\n".encode())
    return digest.hexdigest()
