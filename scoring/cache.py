"""Parsed logs of an earlier scoring, by the SHA-256 of the logs' bytes.

The file holds the tables one after the other, then an index and its digest. It may be deleted at
any time. Every table has a digest of its own: what is damaged is parsed again. Only the logs of the
last scoring are kept. Nothing but the index is held in memory.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from scoring.evaluations import NUM_COLUMNS, parse_table

_MAGIC = b"finishline-evaluations/1"  # another format, or another meaning of a column, changes it
_DIGEST_BYTES = 16
_TAIL_BYTES = len(_MAGIC) + _DIGEST_BYTES + 8


class Cache:
    """Reads tables from the file of the last scoring and writes those of this one.

    Use it as a context manager: the new file takes the old one's place at the end, if all went
    well. Where the folder cannot be written, there is no cache and all else is the same.

    Args:
      path: the file, or None for no cache.

    Attributes:
      num_parsed: how many logs were not in the cache.
    """

    def __init__(self, path: Path | None):
        self.num_parsed = 0
        self._path = path
        self._old: dict[str, Any] = {}
        self._new: dict[str, tuple[int, int, str]] = {}
        self._source: int | None = None
        self._sink: Any = None
        self._position = 0
        self._temporary = path and path.with_name(f".{path.name}.{os.getpid()}.tmp")

    def __enter__(self) -> "Cache":
        if self._path is None or self._temporary is None:
            return self
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = open(self._temporary, "wb")
        with contextlib.suppress(OSError, ValueError, RecursionError):
            self._source = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
            self._old = _read_index(self._source)
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._source is not None:
            os.close(self._source)
        if self._path is None or self._temporary is None:
            return
        is_changed = self._new.keys() != self._old.keys() or self.num_parsed > 0
        if self._sink is not None and kind is None and is_changed:
            self._write(_index_bytes(self._new, self._position))
            with contextlib.suppress(OSError):
                if self._sink is not None:
                    self._sink.close()  # which may find the disk full
                    self._temporary.replace(self._path)
        elif self._sink is not None:
            self._sink.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def table(self, data: bytes, metric: str) -> tuple[np.ndarray, str]:
        """The table of a log, parsed or as it was parsed before, and the SHA-256 of its bytes.

        Raises:
          LogError: the log is damaged.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        key = f"{sha256} {metric}"
        content = self._read(key)
        if content is None:
            self.num_parsed += 1
            table = parse_table(data, metric)
            content = table.tobytes()
        else:
            table = np.frombuffer(content).reshape(NUM_COLUMNS, -1)
        self._keep(key, content)
        return table, sha256

    def _read(self, key: str) -> bytes | None:
        entry = self._old.get(key)
        if entry is None or self._source is None:
            return None
        try:
            offset, size, digest = entry
            content = os.pread(self._source, size, offset)
            is_whole = len(content) == size and _digest(key.encode() + content).hex() == digest
            return content if is_whole and size % (8 * NUM_COLUMNS) == 0 else None
        except (OSError, ValueError, TypeError, OverflowError):
            return None

    def _keep(self, key: str, content: bytes) -> None:
        if self._sink is None or key in self._new:
            return
        digest = _digest(key.encode() + content).hex()
        self._new[key] = (self._position, len(content), digest)
        self._write(content)

    def _write(self, content: bytes) -> None:
        try:
            self._sink.write(content)
            self._position += len(content)
        except OSError:  # such as a full disk
            with contextlib.suppress(OSError):
                self._sink.close()
            self._sink = None


def _index_bytes(entries: dict[str, tuple[int, int, str]], position: int) -> bytes:
    index = json.dumps(entries).encode()
    return index + position.to_bytes(8, "little") + _digest(index) + _MAGIC


def _read_index(source: int) -> dict[str, Any]:
    size = os.fstat(source).st_size
    tail = os.pread(source, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    start = int.from_bytes(tail[:8], "little")
    if len(tail) != _TAIL_BYTES or not tail.endswith(_MAGIC) or start > size - _TAIL_BYTES:
        raise ValueError("no cache of this format")
    index = os.pread(source, size - _TAIL_BYTES - start, start)
    if _digest(index) != tail[8 : 8 + _DIGEST_BYTES]:
        raise ValueError("the index is damaged")
    entries = json.loads(index)
    if not isinstance(entries, dict):
        raise ValueError("the index is no table")
    return entries


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()
