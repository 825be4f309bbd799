"""The layout that prepared data have on disk: one folder a split, written in shards.

A shard is one ``.npy`` file a field and, where examples are bytes of any length (a JPEG, a slice of
k-space), one ArrayRecord file. A field has one entry an example, or parts of all examples one after
the other, such as the tokens of texts. ``manifest.json`` lists the shards with their numbers of
examples and, for each file, its size and SHA-256. Splits never share a folder, so a container can
be given the training data alone.

While a split is being written it lies in ``.<split>.partial`` beside its place, with a journal of
the shards that are finished: an interrupted preparation goes on after the last of them.
"""

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from finishline.data.progress import progress
from finishline.digests import sha256_of
from finishline.errors import UserError
from finishline.records import sync_folder

MANIFEST = "manifest.json"
FORMAT = 2
RECORDS = ".array_record"

# Below this size an array is read into memory and its hash is checked each time that it is opened;
# records are checked if the whole split is below it. What is above is memory-mapped or read by the
# record, and only `verify_split` reads all of it.
SMALL_FILE_BYTES = 64 * 2**20

_JOURNAL = "journal.jsonl"


class SplitWriter:
    """Writes one split shard by shard; ``folder`` is there in full or not at all.

    Shards may be written by several processes at once: ``write`` touches only the files of its
    shard. ``note`` and ``finish`` belong to one process.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]):
        """Starts to write, or goes on where an interrupted writer was.

        Args:
          folder: where the split is to be.
          identity: of what it is made, as JSON: names and sizes of the originals, options. Shards
            that an earlier writer left are kept only if its identity was the same.
        """
        self._folder = folder
        self._scratch = folder.with_name(f".{folder.name}.partial")
        self._done: dict[str, dict[str, Any]] = {}
        head = json.dumps({"format": FORMAT, "identity": identity}, sort_keys=True)
        journal = self._scratch / _JOURNAL
        lines = journal.read_text().splitlines() if journal.is_file() else []
        if lines[:1] == [head]:
            self._done = dict(_finished_shards(self._scratch, lines[1:]))
        else:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch.mkdir(parents=True)
        # Written anew, because what is appended to half a line would be lost with it.
        noted = [_journal_line(key, entry) for key, entry in self._done.items()]
        _replace_durably(journal, b"".join([head.encode() + b"\n", *noted]))

    def has(self, key: str) -> bool:
        """Whether the shard ``key`` is finished."""
        return key in self._done

    def entry(self, key: str) -> Mapping[str, Any] | None:
        """The entry in the manifest of the shard ``key``, or None if it is not finished."""
        return self._done.get(key)

    def write(
        self,
        key: str,
        arrays: Mapping[str, np.ndarray],
        records: Iterable[bytes] | None = None,
        parts: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, Any]:
        """Writes the files of one shard; returns its entry in the manifest, for ``note``.

        Args:
          key: name of the shard. The order of the keys is the order of the shards.
          arrays: by field; each has one entry an example.
          records: one an example, for examples of varying size; may be a generator.
          parts: by field; of any length, for what examples have in varying number, such as tokens,
            one after the other. Where those of an example are, ``arrays`` say.

        Raises:
          ValueError: the numbers of examples differ, or there is nothing to write.
        """
        files = {}
        lengths = {len(array) for array in arrays.values()}
        prefix = f"{key}." if key else ""
        for name, array in {**arrays, **(parts or {})}.items():
            path = self._scratch / f"{prefix}{name}.npy"
            with path.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            files[path.name] = _describe(path) | {
                "field": name,
                "shape": list(array.shape),
                "dtype": array.dtype.str,
            }
        if records is not None:
            path = self._scratch / f"{prefix}records{RECORDS}"
            lengths.add(_write_records(path, records))
            files[path.name] = _describe(path)
        if len(lengths) != 1:
            raise ValueError(
                f"The fields of shard {key!r} must have one length, not {sorted(lengths)}."
            )
        return {"num_examples": lengths.pop(), "files": files}

    def note(self, key: str, entry: Mapping[str, Any]) -> None:
        """Notes in the journal that ``write`` has finished the shard ``key``."""
        self._done[key] = dict(entry)
        with (self._scratch / _JOURNAL).open("ab") as file:
            file.write(_journal_line(key, entry))
            file.flush()
            os.fsync(file.fileno())

    def finish(self) -> None:
        """Writes the manifest and moves the split to its place; an older one is replaced."""
        shards = [self._done[key] for key in sorted(self._done)]
        num_examples = sum(shard["num_examples"] for shard in shards)
        manifest = {"format": FORMAT, "num_examples": num_examples, "shards": shards}
        _write_durably(
            self._scratch / MANIFEST,
            json.dumps(manifest, indent=2, sort_keys=True).encode() + b"\n",
        )
        known = {name for shard in shards for name in shard["files"]} | {MANIFEST, _JOURNAL}
        for path in self._scratch.iterdir():
            if path.name not in known:  # what an interrupted writer left
                path.unlink()
        sync_folder(self._scratch)
        _move_into_place(self._scratch, self._folder)
        # Not before: without its journal, all of the work would count as another's.
        (self._folder / _JOURNAL).unlink()
        sync_folder(self._folder.parent)


def write_split(
    folder: Path, arrays: Mapping[str, np.ndarray], parts: Mapping[str, np.ndarray] | None = None
) -> None:
    """Writes a small split at once, atomically. Everything is on the disk when this returns.

    An older ``folder`` is replaced. For ``arrays`` and ``parts`` see ``SplitWriter.write``.
    """
    shutil.rmtree(folder.with_name(f".{folder.name}.partial"), ignore_errors=True)
    writer = SplitWriter(folder, {})
    try:
        writer.note("", writer.write("", arrays, parts=parts))
        writer.finish()
    finally:
        shutil.rmtree(folder.with_name(f".{folder.name}.partial"), ignore_errors=True)


class Split:
    """A prepared split, opened: where its shards are and how many examples they have.

    Attributes:
      folder: the folder.
      lengths: examples by shard.
      record_files: the ArrayRecord file of each shard; empty if the split has none.
    """

    def __init__(self, folder: Path):
        """Opens ``folder``; checks the size of each file, and the hash of the small ones.

        Raises:
          UserError: a file is missing or damaged; the message names it.
        """
        self.folder = folder
        self._shards = _read_manifest(folder)["shards"]
        files = [file for shard in self._shards for file in shard["files"].values()]
        is_small = sum(file["bytes"] for file in files) < SMALL_FILE_BYTES
        self.lengths = [shard["num_examples"] for shard in self._shards]
        self.record_files: list[Path] = []
        for shard in self._shards:
            for name, described in shard["files"].items():
                path = _checked_path(folder, name, described)
                if name.endswith(RECORDS):
                    self.record_files.append(path)
                    if is_small:
                        _check_hash(path, sha256_of(path), described)

    def __len__(self) -> int:
        return sum(self.lengths)

    def arrays(self) -> list[dict[str, np.ndarray]]:
        """The arrays of each shard, by field: in memory if small, else memory-mapped.

        Raises:
          UserError: a file is damaged; the message names it.
        """
        return [
            {
                described["field"]: _load_array(self.folder / name, described)
                for name, described in shard["files"].items()
                if "field" in described
            }
            for shard in self._shards
        ]


def verify_split(folder: Path) -> int:
    """Reads every byte of a prepared split and compares the hashes; shows how far it has come.

    Returns:
      The number of examples.

    Raises:
      UserError: a file is missing or damaged; the message names it.
    """
    manifest = _read_manifest(folder)
    files = [item for shard in manifest["shards"] for item in shard["files"].items()]
    paths = [_checked_path(folder, name, described) for name, described in files]
    total = sum(described["bytes"] for _, described in files)
    with progress(f"{folder.parent.name}/{folder.name}", total) as advance:
        for path, (_, described) in zip(paths, files, strict=True):
            _check_hash(path, sha256_of(path), described)
            advance(described["bytes"])
    return manifest["num_examples"]


def is_sound(folder: Path) -> bool:
    """Whether a prepared split is there and looks right, by the checks of ``Split``."""
    try:
        Split(folder).arrays()
    except UserError:
        return False
    return True


def _finished_shards(scratch: Path, lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The shards that a journal says are finished and whose files are there.

    The journal's last line may be half a line.
    """
    for line in lines:
        try:
            noted = json.loads(line)
        except ValueError:
            return
        files = noted["entry"]["files"].items()
        if all(_size(scratch / name) == described["bytes"] for name, described in files):
            yield noted["key"], noted["entry"]


def _journal_line(key: str, entry: Mapping[str, Any]) -> bytes:
    return json.dumps({"key": key, "entry": entry}).encode() + b"\n"


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _write_records(path: Path, records: Iterable[bytes]) -> int:
    """Writes an ArrayRecord file that is read record by record; returns the number of records."""
    from array_record.python import array_record_module

    # Compression is left to who makes the records: a JPEG does not get smaller.
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1,uncompressed")
    count = 0
    try:
        for record in records:
            writer.write(record)
            count += 1
    finally:
        writer.close()
    return count


def _describe(path: Path) -> dict[str, Any]:
    """Brings a file to the disk; its entry in the manifest."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return {"bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace_durably(path: Path, content: bytes) -> None:
    """Writes ``path``; an older file stays until the new one is there in full."""
    temporary = path.with_name(f"{path.name}.tmp")
    _write_durably(temporary, content)
    temporary.replace(path)


def _move_into_place(new: Path, folder: Path) -> None:
    """Renames ``new`` to ``folder``; what was there is deleted."""
    try:
        new.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != FORMAT:
            raise _damaged(path, f"has format {manifest['format']} instead of {FORMAT}")
        for shard in manifest["shards"]:
            shard["num_examples"], shard["files"].items()
        manifest["num_examples"]
    except (FileNotFoundError, NotADirectoryError) as error:
        state = "only an unfinished preparation" if _is_partial(folder) else "no data"
        raise UserError(f"There is {state} in {folder}; {_remedy(folder)}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, "is not a manifest") from error
    return manifest


def _is_partial(folder: Path) -> bool:
    return folder.with_name(f".{folder.name}.partial").is_dir()


def _checked_path(folder: Path, name: str, described: Mapping[str, Any]) -> Path:
    """A file of a split, after a look at its size."""
    path = folder / name
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise _damaged(path, "is missing") from error
    if size != described["bytes"]:
        raise _damaged(path, f"has {size} bytes instead of {described['bytes']}")
    return path


def _load_array(path: Path, described: Mapping[str, Any]) -> np.ndarray:
    if described["bytes"] < SMALL_FILE_BYTES:
        content = path.read_bytes()
        _check_hash(path, hashlib.sha256(content).hexdigest(), described)
        array = np.load(io.BytesIO(content), allow_pickle=False)
    else:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if list(array.shape) != described["shape"] or array.dtype.str != described["dtype"]:
        raise _damaged(path, "does not have the shape and dtype that its manifest says")
    return array


def _check_hash(path: Path, digest: str, described: Mapping[str, Any]) -> None:
    if digest != described["sha256"]:
        raise _damaged(
            path, f"has SHA-256 {digest[:12]}... instead of {described['sha256'][:12]}..."
        )


def _damaged(path: Path, what: str) -> UserError:
    folder = path.parent
    return UserError(f"{path} {what}; delete {folder} and {_remedy(folder)}.")


def _remedy(folder: Path) -> str:
    """What makes the data, by the convention <data_dir>/<data set>/<split>."""
    dataset = folder.parent
    return f"run `python -m workloads.prepare {dataset.name} --data_dir {dataset.parent}`"
