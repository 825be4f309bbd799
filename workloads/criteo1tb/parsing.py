"""From lines of text to arrays.

A line has 40 fields, separated by tabs: the label (0 or 1), 13 integers and 26 categories of eight
hexadecimal digits. All but the label may be empty. An integer x becomes log(1 + max(x, 0)), an
empty one 0; a category becomes the number of its bucket, see ``hashing``.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from finishline.data.preparation import ShardContent
from finishline.data.streaming import StreamShard
from finishline.errors import UserError
from workloads.criteo1tb import hashing
from workloads.criteo1tb.fields import NUM_CATEGORIES, NUM_NUMBERS
from workloads.criteo1tb.originals import Block, Extent, LineReader, count_lines

NUM_FIELDS = 1 + NUM_NUMBERS + NUM_CATEGORIES

Arrays = dict[str, np.ndarray]


def read_shards(extent: Extent, shard_bytes: int, first: int = 0) -> Iterator[StreamShard]:
    """The shards of an extent: shard i has the lines that begin in the i-th ``shard_bytes`` of it.

    Args:
      extent: which lines.
      shard_bytes: of text.
      first: the shard to begin with.

    Raises:
      UserError: a line is malformed, or a compressed file damaged; the message names it.
    """
    start = extent.start + first * shard_bytes
    end = math.inf if extent.stop is None else extent.stop
    told, is_last = 0, False
    with LineReader(extent.path, start) as reader:
        while not is_last:
            stop = int(min(start + shard_bytes, end))
            blocks = [parse(extent.path, block) for block in reader.blocks(stop)]
            is_last = stop == end or reader.is_at_end()
            read = reader.disk_bytes if extent.is_compressed else stop - extent.start
            yield StreamShard(ShardContent(_join(blocks)), read - told, is_last)
            told, start = read, stop


def _join(blocks: list[Arrays]) -> Arrays:
    blocks = blocks or [_empty()]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _empty() -> Arrays:
    return {
        "inputs": np.empty((0, NUM_NUMBERS), np.float32),
        "categories": np.empty((0, NUM_CATEGORIES), np.int32),
        "targets": np.empty(0, np.uint8),
    }


def parse(path: Path, block: Block) -> Arrays:
    """The arrays of the lines of a block: ``inputs``, ``categories``, ``targets`` (uint8, (n,)).

    Raises:
      UserError: a line is malformed; the message names ``path`` and the line.
    """
    from pyarrow import ArrowException

    try:
        return _parse(block.text)
    except (ArrowException, ValueError) as error:
        raise _explained(path, block, error) from error


def _parse(text: bytes) -> Arrays:
    import pyarrow as pa
    from pyarrow import csv

    names = [str(index) for index in range(NUM_FIELDS)]
    types = [pa.uint8()] + [pa.int64()] * NUM_NUMBERS + [pa.binary()] * NUM_CATEGORIES
    table = csv.read_csv(
        pa.BufferReader(text),
        csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
        csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False),
        csv.ConvertOptions(
            column_types=dict(zip(names, types, strict=True)),
            null_values=[""],
            strings_can_be_null=False,
        ),
    )
    columns = [column.combine_chunks() for column in table.columns]
    targets = columns[0].to_numpy()  # fails if one is missing
    if targets.max(initial=0) > 1:
        raise ValueError("A label is neither 0 nor 1.")
    inputs = np.empty((len(targets), NUM_NUMBERS), np.float32)
    categories = np.empty((len(targets), NUM_CATEGORIES), np.int32)
    for index in range(NUM_NUMBERS):
        numbers = columns[1 + index].fill_null(0).to_numpy()
        inputs[:, index] = np.log1p(np.maximum(numbers, 0))
    for index in range(NUM_CATEGORIES):
        words = _words(columns[1 + NUM_NUMBERS + index])
        categories[:, index] = hashing.bucket_ids(words, index)
    return {"inputs": inputs, "categories": categories, "targets": targets}


def _words(column) -> np.ndarray:  # type: ignore[no-untyped-def]  # pyarrow has no annotations
    """The eight characters of each category as one number; of an empty one, those of '00000000'."""
    _, offsets_buffer, text = column.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[column.offset :][: len(column) + 1]
    lengths = np.diff(offsets)
    is_given = lengths > 0
    if (lengths[is_given] != 8).any():
        raise ValueError("A category has not 8 digits.")
    words = np.full(len(column), hashing.MISSING)
    if is_given.any():
        words[is_given] = np.frombuffer(text, "<u8", is_given.sum(), int(offsets[0]))
    if not hashing.are_hexadecimal(words).all():
        raise ValueError("A category has other digits than 0-9a-f.")
    return words


def _explained(path: Path, block: Block, error: Exception) -> UserError:
    """Which line cannot be parsed, and why."""
    with LineReader(path) as reader:
        before = sum(count_lines(earlier.text) for earlier in reader.blocks(block.start))
    for number, line in enumerate(block.text.splitlines(), before + 1):
        if problem := _problem(line):
            return UserError(
                f"{path} line {number:,} {problem}; replace the file by an undamaged original."
            )
    return UserError(f"{path} cannot be parsed after line {before:,}: {error}")


def _problem(line: bytes) -> str | None:
    fields = line.split(b"\t")
    if len(fields) != NUM_FIELDS:
        return f"has {len(fields)} fields instead of {NUM_FIELDS}"
    if fields[0] not in (b"0", b"1"):
        return f"has the label {_shown(fields[0])} instead of 0 or 1"
    for index, field in enumerate(fields[1:], 2):
        if index <= 1 + NUM_NUMBERS:
            if field and not field.removeprefix(b"-").isdigit():
                return f"has {_shown(field)} in column {index}, where an integer should be"
        elif field and not (len(field) == 8 and set(field) <= set(b"0123456789abcdef")):
            return f"has {_shown(field)} in column {index}, where 8 hexadecimal digits should be"
    return None


def _shown(field: bytes) -> str:
    return repr(field.decode(errors="replace"))[:40]
