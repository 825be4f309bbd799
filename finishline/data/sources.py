"""Sources of examples that are read by index, and the prepared layout that they have on disk.

One folder holds one split: one ``<field>.npy`` a field, and ``manifest.json`` with the number of
examples and, for each field, its file's shape, dtype, size and SHA-256. Splits never share a
folder, so a container can be given the training data alone.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from finishline.errors import UserError
from finishline.records import sync_folder

MANIFEST = "manifest.json"
FORMAT = 1

# Below this size a file is read into memory and its hash is checked each time that it is opened.
# Above, it is memory-mapped, and only `verify_split` reads all of it.
SMALL_FILE_BYTES = 64 * 2**20


@runtime_checkable
class Source(Protocol):
    """A split of a data set, read by the batch."""

    def __len__(self) -> int:
        """The number of examples."""

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at ``indices`` (int64, shape (n,)): new arrays with leading dimension n."""


class ArraySource:
    """Examples in arrays of equal length, in memory or memory-mapped."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        """Keeps ``arrays``, one a field, without a copy.

        Raises:
          ValueError: there is no array, or their lengths differ.
        """
        # A plain ndarray over a memory map: np.memmap's Python-level hooks cost more than a gather.
        self.arrays = {name: np.asarray(array) for name, array in arrays.items()}
        lengths = {len(array) for array in self.arrays.values()}
        if len(lengths) != 1:
            raise ValueError(f"The arrays of a source must have one length, not {sorted(lengths)}.")
        self._length = lengths.pop()

    def __len__(self) -> int:
        return self._length

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at ``indices``, as C-contiguous arrays that share no memory with this."""
        return {name: array.take(indices, axis=0) for name, array in self.arrays.items()}


def write_split(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes one split, atomically: ``folder`` is there in full or not at all.

    An older ``folder`` is replaced. Everything is on the disk when this returns.
    """
    source = ArraySource(arrays)  # checks the lengths
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        new = scratch / "new"
        new.mkdir()
        fields = {name: _write_field(new, name, array) for name, array in source.arrays.items()}
        manifest = {"format": FORMAT, "num_examples": len(source), "fields": fields}
        _write_durably(new / MANIFEST, json.dumps(manifest, indent=2).encode() + b"\n")
        sync_folder(new)
        _move_into_place(new, folder, replaced=scratch / "old")
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_split(folder: Path) -> ArraySource:
    """Opens a prepared split.

    The size of each file is checked, and the hash of the small ones.

    Raises:
      UserError: a file is missing or damaged; the message names it.
    """
    manifest = _read_manifest(folder)
    arrays = {}
    for name, field in manifest["fields"].items():
        path = _checked_path(folder, name, field)
        if field["bytes"] < SMALL_FILE_BYTES:
            content = path.read_bytes()
            _check_hash(path, hashlib.sha256(content).hexdigest(), field)
            arrays[name] = np.load(io.BytesIO(content), allow_pickle=False)
        else:
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        if list(arrays[name].shape) != field["shape"] or arrays[name].dtype.str != field["dtype"]:
            raise _damaged(path, "does not have the shape and dtype that its manifest says")
    return ArraySource(arrays)


def verify_split(folder: Path) -> int:
    """Reads every byte of a prepared split and compares the hashes.

    Returns:
      The number of examples.

    Raises:
      UserError: a file is missing or damaged; the message names it.
    """
    manifest = _read_manifest(folder)
    for name, field in manifest["fields"].items():
        path = _checked_path(folder, name, field)
        with path.open("rb") as file:
            _check_hash(path, hashlib.file_digest(file, "sha256").hexdigest(), field)
    return manifest["num_examples"]


def _write_field(folder: Path, name: str, array: np.ndarray) -> dict[str, Any]:
    """Writes one field; returns its entry in the manifest."""
    path = folder / f"{name}.npy"
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "bytes": path.stat().st_size,
        "sha256": digest,
    }


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _move_into_place(new: Path, folder: Path, *, replaced: Path) -> None:
    """Renames ``new`` to ``folder``; what was there goes to ``replaced``."""
    try:
        new.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        folder.rename(replaced)
        new.rename(folder)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != FORMAT:
            raise _damaged(path, f"has format {manifest['format']} instead of {FORMAT}")
        manifest["num_examples"], manifest["fields"].items()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"There is no data in {folder}; {_remedy(folder)}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, "is not a manifest") from error
    return manifest


def _checked_path(folder: Path, name: str, field: Mapping[str, Any]) -> Path:
    """The file of a field, after a look at its size."""
    path = folder / f"{name}.npy"
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise _damaged(path, "is missing") from error
    if size != field["bytes"]:
        raise _damaged(path, f"has {size} bytes instead of {field['bytes']}")
    return path


def _check_hash(path: Path, digest: str, field: Mapping[str, Any]) -> None:
    if digest != field["sha256"]:
        raise _damaged(path, f"has SHA-256 {digest[:12]}... instead of {field['sha256'][:12]}...")


def _damaged(path: Path, what: str) -> UserError:
    folder = path.parent
    return UserError(f"{path} {what}; delete {folder} and {_remedy(folder)}.")


def _remedy(folder: Path) -> str:
    """What makes the data, by the convention <data_dir>/<data set>/<split>."""
    dataset = folder.parent
    return f"run `python -m workloads.prepare {dataset.name} --data_dir {dataset.parent}`"
