"""Finding and reading the original files: 24 days of lines of text.

A day D is ``day_D`` uncompressed, or ``day_D.gz`` as distributed, or the parts ``day_D_NN`` into
which AlgoPerf's set-up splits it; the first of these that is there is read. Places in a file are
those of its uncompressed text, in bytes.
"""

import dataclasses
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from finishline.errors import UserError

NUM_DAYS = 24
BLOCK_BYTES = 8 * 2**20  # of text read at once, so that what is made of it fits into the cache


@dataclasses.dataclass(frozen=True)
class Extent:
    """Some lines of a file: those that begin in [start, stop).

    Attributes:
      path: the file.
      start: place in its text.
      stop: place in its text; None is its end.
    """

    path: Path
    start: int = 0
    stop: int | None = None

    @property
    def is_compressed(self) -> bool:
        """Whether the text before ``start`` has to be read to get there."""
        return self.path.suffix == ".gz"

    @property
    def num_bytes(self) -> int:
        """Its size on the disk, if the file is not compressed; else that of the whole file."""
        size = self.path.stat().st_size
        if self.is_compressed:
            return size
        return (size if self.stop is None else min(self.stop, size)) - self.start

    def describe(self) -> dict[str, Any]:
        """What identifies it, as JSON."""
        size = self.path.stat().st_size
        return {"file": self.path.name, "size": size, "start": self.start, "stop": self.stop}


class Block(NamedTuple):
    """Whole lines of text, and where the first of them begins."""

    start: int
    text: bytes


def find_days(folder: Path) -> list[list[Path]]:
    """The files of each day.

    Raises:
      UserError: days are missing.
    """
    days = [_find_day(folder, day) for day in range(NUM_DAYS)]
    missing = [f"day_{day}" for day, files in enumerate(days) if not files]
    if missing:
        raise UserError(
            f"{folder} lacks {', '.join(missing[:3])}{', ...' if missing[3:] else ''} of the "
            "Criteo 1TB click logs; get day_0.gz to day_23.gz from the Criteo AI Lab "
            "(https://ailab.criteo.com, 'Criteo 1TB Click Logs dataset') or from "
            "https://huggingface.co/datasets/criteo/CriteoClickLogs, accept their terms, and put "
            "them there or say with --source where they are (day_D uncompressed and AlgoPerf's "
            "day_D_NN will do, too)."
        )
    return days


def _find_day(folder: Path, day: int) -> list[Path]:
    for name in (f"day_{day}", f"day_{day}.gz"):
        if (folder / name).is_file():
            return [folder / name]
    return sorted(folder.glob(f"day_{day}_[0-9][0-9]"))


class LineReader:
    """Reads whole lines of a file, one block after the other.

    Attributes:
      position: where the next line begins.
      disk_bytes: bytes that have been read from the disk.
    """

    def __init__(self, path: Path, start: int = 0):
        """Goes to the first line that begins at ``start`` or after it.

        Raises:
          UserError: the file is compressed and damaged.
        """
        self.position = start
        self._path = path
        self._raw: IO[bytes] = path.open("rb")
        self._file = gzip.GzipFile(fileobj=self._raw) if path.suffix == ".gz" else self._raw
        self._text = b""  # read, but not handed out
        if start > 0:
            self._skip(start - 1)
            self._read()
            while (end := self._text.find(b"\n")) < 0 and self._read():
                pass
            # Nothing is left if the last line began before `start`.
            self.position = start - 1 + (end + 1 if end >= 0 else len(self._text))
            self._text = self._text[end + 1 :] if end >= 0 else b""

    def blocks(self, stop: int | None) -> Iterator[Block]:
        """The lines from ``position`` on that begin before ``stop``, or all.

        Raises:
          UserError: the file is compressed and damaged, or holds no lines.
        """
        while stop is None or self.position < stop:
            is_at_end = not self._read()
            end = len(self._text) if is_at_end else self._text.rfind(b"\n") + 1
            if stop is not None and self.position + end > stop:
                newline = self._text.find(b"\n", stop - self.position - 1)
                end = newline + 1 if newline >= 0 else end
            if end:
                text, self._text = self._text[:end], self._text[end:]
                start, self.position = self.position, self.position + end
                yield Block(start, text)
            elif is_at_end:
                return
            elif len(self._text) > 2 * BLOCK_BYTES:
                raise UserError(f"{self._path} is no text in lines; replace it by the original.")

    def is_at_end(self) -> bool:
        """Whether no line is left."""
        return not self._text and not self._read()

    @property
    def disk_bytes(self) -> int:
        """How far the file itself has been read."""
        return self._raw.tell()

    def __enter__(self) -> "LineReader":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()
        self._raw.close()

    def _skip(self, count: int) -> None:
        if self._file is self._raw:
            self._raw.seek(count)
            return
        while count > 0 and (skipped := len(self._from_file(min(count, BLOCK_BYTES)))):
            count -= skipped

    def _read(self) -> bool:
        """Reads one block more; whether there was anything."""
        text = self._from_file(BLOCK_BYTES)
        self._text += text
        return bool(text)

    def _from_file(self, count: int) -> bytes:
        try:
            return self._file.read(count)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(
                f"{self._path} is no complete gzip file ({error}); replace it by the original."
            ) from error


def split_after(files: Sequence[Path], num_lines: int) -> tuple[list[Extent], list[Extent], int]:
    """The first ``num_lines`` lines of a day's files, the others, and how many the first are."""
    counted = 0
    for index, path in enumerate(files):
        place, here = _find_line(path, num_lines - counted)
        counted += here
        if place is not None:
            before, after = list(map(Extent, files[:index])), list(map(Extent, files[index + 1 :]))
            first = [Extent(path, 0, place)] if place else []
            return [*before, *first], [Extent(path, place), *after], counted
    return list(map(Extent, files)), [], counted


def _find_line(path: Path, number: int) -> tuple[int | None, int]:
    """Where line ``number``, from 0, begins, None if there is none; and the lines before it."""
    counted = 0
    with LineReader(path) as reader:
        for block in reader.blocks(None):
            in_block = count_lines(block.text)
            if counted + in_block > number:
                return block.start + _line_start(block.text, number - counted), number
            counted += in_block
    return None, counted


def count_lines(text: bytes) -> int:
    """The number of lines; the last may lack its end."""
    return text.count(b"\n") + (not text.endswith(b"\n"))


def _line_start(text: bytes, number: int) -> int:
    """Where line ``number``, from 0, begins."""
    place = 0
    for _ in range(number):
        place = text.index(b"\n", place) + 1
    return place
