"""Pairs of sentences in rows of tokens: one a row for evaluation, packed for training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from finishline.data.pipeline import pad_batch
from finishline.data.prepared import Field
from finishline.data.shuffle import TrainingOrder, rank_slice

SIDES = ("inputs", "targets")


def fields(max_length: int) -> dict[str, Field]:
    """The fields of a row; see ``PairSource``."""
    row = Field((max_length,), "int32")
    names = [f"{side}{suffix}" for side in SIDES for suffix in ("", "_position", "_segmentation")]
    return dict.fromkeys(names, row) | {"weights": Field((max_length,), "float32")}


class Placement(NamedTuple):
    """Where pairs lie in rows.

    Attributes:
      indices: of the pairs in their split, int64, (n,).
      rows: the row of each, (n,), not decreasing.
    """

    indices: np.ndarray
    rows: np.ndarray


class PairSource:
    """Pairs of sentences, as tokens with the end of the sentence.

    Fields of a row, each (max_length,): ``inputs`` and ``targets`` (int32), 0 where there is
    nothing; for either ``_position``, the place of a token in its sentence, from 0, and
    ``_segmentation``, the number of its pair in the row, from 1, with 0 where there is nothing (all
    int32); and ``weights`` (float32), 1 where there is a target. See
    ``finishline.data.sources.BatchingSource``.

    What is longer than a row is cut in evaluations, and passed over in training.
    """

    def __init__(self, shards: Sequence[Mapping[str, np.ndarray]], max_length: int):
        """Keeps the token arrays without a copy.

        Args:
          shards: arrays by field; of either side, its tokens one sentence after the other, and
            ``_ends``, the place in them where each sentence ends.
          max_length: tokens of a row.
        """
        self.max_length = max_length
        counts = [len(shard["inputs_ends"]) for shard in shards]
        self._owners = np.repeat(np.arange(len(shards), dtype=np.uint16), counts)
        self._tokens = {side: [np.asarray(shard[side]) for shard in shards] for side in SIDES}
        self._starts: dict[str, np.ndarray] = {}
        self.lengths: dict[str, np.ndarray] = {}  # in tokens, of either side
        for side in SIDES:
            ends = [np.asarray(shard[f"{side}_ends"]) for shard in shards]
            starts = [np.concatenate([[0], end[:-1]]) for end in ends]
            self._starts[side] = np.concatenate(starts)
            self.lengths[side] = (np.concatenate(ends) - self._starts[side]).astype(np.int32)

    def __len__(self) -> int:
        return len(self._owners)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The pairs at ``indices``, one a row."""
        return self.fill(Placement(indices, np.arange(len(indices))), len(indices))

    def training_batches(
        self, *, batch_size: int, seed: int, position: int = 0, rank: int = 0, world_size: int = 1
    ) -> "PackedBatches":
        """Rows of packed pairs; see ``PackedBatches``."""
        return PackedBatches(
            self,
            batch_size=batch_size,
            seed=seed,
            position=position,
            rank=rank,
            world_size=world_size,
        )

    def evaluation_batches(
        self, indices: np.ndarray, batch_size: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """The pairs at ``indices``, one a row, those of like lengths together.

        A batch is decoded until its longest translation has ended.
        """
        ordered = indices[np.argsort(self.lengths["inputs"][indices], kind="stable")]
        for start in range(0, len(ordered), batch_size):
            yield pad_batch(self.gather(ordered[start : start + batch_size]), batch_size)

    def fill(self, placement: Placement, num_rows: int) -> dict[str, np.ndarray]:
        """Rows in which pairs lie as ``placement`` says, in their order one after the other."""
        batch: dict[str, np.ndarray] = {}
        rows = placement.rows
        first = np.searchsorted(rows, rows)  # of each pair's row
        segments = np.arange(len(rows)) - first + 1
        for side in SIDES:
            lengths = np.minimum(self.lengths[side][placement.indices], self.max_length)
            before = np.cumsum(lengths) - lengths
            places = _ranges(rows * self.max_length + before - before[first], lengths)
            tokens, positions, segmentation = np.zeros((3, num_rows * self.max_length), np.int32)
            tokens[places] = self._read(side, placement.indices, lengths)
            positions[places] = _ranges(np.zeros_like(lengths), lengths)
            segmentation[places] = np.repeat(segments, lengths)
            shape = (num_rows, self.max_length)
            batch[side] = tokens.reshape(shape)
            batch[f"{side}_position"] = positions.reshape(shape)
            batch[f"{side}_segmentation"] = segmentation.reshape(shape)
        batch["weights"] = (batch["targets"] > 0).astype(np.float32)
        return batch

    def _read(self, side: str, indices: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """The first ``lengths`` tokens of one side of the pairs, one after the other."""
        owners, starts = self._owners[indices], self._starts[side][indices]
        tokens = np.empty(lengths.sum(), np.int32)
        places = np.cumsum(lengths) - lengths
        for owner in np.unique(owners):
            mine = owners == owner
            there = _ranges(starts[mine], lengths[mine])
            tokens[_ranges(places[mine], lengths[mine])] = self._tokens[side][owner].take(there)
        return tokens


class PackedBatches(Iterator[dict[str, np.ndarray]]):
    """Endless training batches of rows that hold as many pairs as fit.

    Pairs come in the training order. Each goes behind the one before it if both its sides fit, and
    else begins the next row; see ``pack``. A batch has ``batch_size`` rows and begins a new one, so
    that it depends on its position alone. How many pairs it holds differs.

    Attributes:
      position: how many pairs of the training order have been handed out or passed over, over all
        ranks.
    """

    def __init__(
        self,
        source: PairSource,
        *,
        batch_size: int,
        seed: int,
        position: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        """Starts at ``position``; for the arguments see ``pipeline.TrainingBatches``.

        Raises:
          ValueError: a number is out of range, or no pair fits into a row.
        """
        self.position = position
        self._source = source
        self._batch_size = batch_size
        self._rows = rank_slice(batch_size, rank, world_size)
        self._order = TrainingOrder(len(source), seed)
        self._guess = 4 * batch_size  # pairs that a batch may hold

    def __next__(self) -> dict[str, np.ndarray]:
        indices, starts, stop = self._pack()
        first, last = starts[self._rows.start], starts[self._rows.stop]
        rows = np.searchsorted(starts, np.arange(first, last), side="right") - 1
        self.position = stop
        mine = Placement(indices[first:last], rows - self._rows.start)
        return self._source.fill(mine, self._rows.stop - self._rows.start)

    def close(self) -> None:
        """Nothing to free."""

    def _pack(self) -> tuple[np.ndarray, np.ndarray, int]:
        """The next batch's pairs, where its rows begin in them, and the position after it."""
        lengths, max_length = self._source.lengths, self._source.max_length
        while True:
            indices = self._order.indices(self.position, self.position + self._guess)
            sides = [lengths[side][indices] for side in SIDES]
            (fitting,) = np.nonzero(np.maximum(*sides) <= max_length)
            inputs, targets = (side[fitting] for side in sides)
            starts = pack(inputs, targets, self._batch_size, max_length)
            if starts is not None:
                return indices[fitting], starts, self.position + int(fitting[starts[-1]])
            if not fitting.size and self._guess > 2 * self._order.n:
                raise ValueError(f"No pair of sentences has at most {max_length} tokens a side.")
            self._guess *= 2


def pack(
    input_lengths: np.ndarray, target_lengths: np.ndarray, num_rows: int, max_length: int
) -> np.ndarray | None:
    """Where rows begin that are filled with pairs in their order.

    Args:
      input_lengths: int64, (n,), at most ``max_length``.
      target_lengths: likewise.
      num_rows: how many rows to fill.
      max_length: tokens of a row, on either side.

    Returns:
      int64, (num_rows + 1,): row r has the pairs [r] to [r + 1] - 1. None if the pairs do not
      suffice to tell where the last row ends.
    """
    ends = [np.cumsum(lengths, dtype=np.int64) for lengths in (input_lengths, target_lengths)]
    starts = [0]
    for _ in range(num_rows):
        before = [end[starts[-1] - 1] if starts[-1] else 0 for end in ends]
        stop = min(
            int(np.searchsorted(end, base + max_length, side="right"))
            for end, base in zip(ends, before, strict=True)
        )
        if stop == len(input_lengths):
            return None
        starts.append(stop)
    return np.array(starts)


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1, ..., start + length - 1 for each, one after the other."""
    before = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - before, lengths)
