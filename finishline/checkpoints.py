"""Checkpoints: written by the referee while the worker is frozen and the clock stands still.

The worker serialises its state to memory, on the clock; bringing that to the disk, safely, is the
referee's work. The content is opaque to it: nothing that a worker wrote is unpickled here.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finishline.records import sync_folder

MANIFEST_FILE = "manifest.json"
_KEPT = 2
_PREFIX = "step_"
_TEMPORARY = ".tmp_"


def save(
    folder: Path, step: int, files: Mapping[str, bytes | Path], meta: Mapping[str, Any]
) -> None:
    """Writes the checkpoint of ``step``, then deletes all but the newest two.

    At every moment ``folder`` holds only whole checkpoints under final names.

    Args:
      folder: where the checkpoints of the trial are.
      step: training steps done.
      files: content by file name, or the file that has it.
      meta: what the referee needs to continue, as JSON.

    Raises:
      OSError: the disk is full or cannot be written; older checkpoints are untouched.
    """
    folder.mkdir(exist_ok=True)
    temporary = folder / f"{_TEMPORARY}{_PREFIX}{step}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        hashes = {name: _write(temporary / name, content) for name, content in files.items()}
        body = json.dumps({"step": step, "files": hashes, "meta": meta})
        manifest = json.dumps({"body": body, "sha256": _sha256(body.encode())})
        _write(temporary / MANIFEST_FILE, manifest.encode())
        sync_folder(temporary)
        final = folder / f"{_PREFIX}{step:010d}"
        shutil.rmtree(final, ignore_errors=True)  # of a run that was fallen back behind
        temporary.rename(final)
        sync_folder(folder)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for old in _newest_first(folder)[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


class Checkpoint:
    """A checkpoint whose hashes have been checked.

    Attributes:
      step: training steps done.
      meta: what was passed to ``save``.
      files: path by file name.
    """

    def __init__(self, path: Path):
        manifest = json.loads((path / MANIFEST_FILE).read_bytes())
        if _sha256(manifest["body"].encode()) != manifest["sha256"]:
            raise ValueError("its manifest is damaged")
        body = json.loads(manifest["body"])
        for name, expected in body["files"].items():
            with open(path / name, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise ValueError(f"{name} is damaged")
        self.step: int = body["step"]
        self.meta: dict[str, Any] = body["meta"]
        self.files = {name: path / name for name in body["files"]}


def newest_meta(folder: Path) -> dict[str, Any] | None:
    """What was passed as ``meta`` to the newest checkpoint with a readable manifest, if any."""
    for path in _newest_first(folder):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return json.loads(json.loads((path / MANIFEST_FILE).read_bytes())["body"])["meta"]
    return None


def load_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest undamaged checkpoint, if any, and a sentence for each damaged one before it."""
    messages: list[str] = []
    for path in _newest_first(folder):
        try:
            return Checkpoint(path), messages
        except (OSError, ValueError, KeyError, TypeError) as error:
            messages.append(f"The checkpoint {path} cannot be used ({error}).")
    return None, messages


def remove_newer(folder: Path, step: int) -> None:
    """Deletes the checkpoints after ``step``, which are damaged or half written."""
    for path in _newest_first(folder):
        if int(path.name.removeprefix(_PREFIX)) > step:
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f"{_TEMPORARY}*"):
        shutil.rmtree(path, ignore_errors=True)


def _newest_first(folder: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):
        found = (path for path in folder.iterdir() if path.name.startswith(_PREFIX))
        return sorted(found, reverse=True)
    return []


def _write(path: Path, content: bytes | Path) -> str:
    """Writes and syncs a file; returns its SHA-256."""
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for block in _blocks(content):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _blocks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with open(content, "rb") as file:
        while block := file.read(1 << 22):
            yield block


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
