"""The batches of training and of evaluation, the same for every framework."""

import contextlib
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import numpy as np

from finishline.data.keyed import ExampleRandom
from finishline.data.records import RecordBatches, RecordSource, read_examples
from finishline.data.shuffle import TrainingOrder, rank_slice
from finishline.data.sources import AugmentedSource, BatchingSource, BatchIterator, Source

# So many bytes are gathered at once and handed out in slices: enough to make the cost per batch of
# the Python code small, little enough to stay in the processor's cache.
CHUNK_BYTES = 2**20


class TrainingBatches(Iterator[dict[str, np.ndarray]]):
    """Endless training batches from a source that is gathered by the batch.

    Batch b of all ranks together is positions [b * batch_size, (b + 1) * batch_size) of the
    training order, and each rank has its contiguous slice of it. Batches run on over the end of an
    epoch, so that every example comes exactly once an epoch whatever the batch size.

    Attributes:
      position: how many examples of the training order have been handed out, over all ranks.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        seed: int,
        position: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        """Starts at ``position``.

        Args:
          source: the examples.
          batch_size: examples a batch, over all ranks.
          seed: of the shuffling, in [0, 2**64).
          position: how many examples of the training order to pass over.
          rank: which slice of each batch to hand out.
          world_size: number of slices.

        Raises:
          ValueError: ``batch_size`` is not a positive multiple of ``world_size``, or another number
            is out of range.
        """
        self.position = position
        self._rank_slice = rank_slice(batch_size, rank, world_size)
        self._rank_size = batch_size // world_size
        self._source = source
        self._batch_size = batch_size
        self._order = TrainingOrder(len(source), seed, getattr(source, "block_size", 1))
        self._chunk: dict[str, np.ndarray] = {}
        self._used = self._available = 0  # examples of this rank in the chunk
        self._batches_per_chunk = 1

    def __next__(self) -> dict[str, np.ndarray]:
        if self._used == self._available:
            self._gather()
        start, stop = self._used, self._used + self._rank_size
        batch = {name: array[start:stop] for name, array in self._chunk.items()}
        self._used = stop
        self.position += self._batch_size
        return batch

    def close(self) -> None:
        """Nothing to free."""

    def _gather(self) -> None:
        """Gathers the next batches of this rank into one chunk.

        A chunk is never written again: who got a batch may keep it without a copy.
        """
        count = self._batches_per_chunk
        stop = self.position + count * self._batch_size
        indices = self._mine(self._order.indices(self.position, stop))
        if isinstance(self._source, AugmentedSource):
            epochs = self._mine(np.arange(self.position, stop)) // self._order.n
            random = ExampleRandom(self._order.seed, epochs, indices)
            self._chunk = self._source.gather_augmented(indices, random)
        else:
            self._chunk = self._source.gather(indices)
        self._used, self._available = 0, count * self._rank_size
        chunk_bytes = sum(array.nbytes for array in self._chunk.values())
        self._batches_per_chunk = max(1, CHUNK_BYTES * count // max(1, chunk_bytes))

    def _mine(self, examples: np.ndarray) -> np.ndarray:
        """What this rank has of ``examples``, which are those of whole batches."""
        return examples.reshape(-1, self._batch_size)[:, self._rank_slice].reshape(-1)


def training_batches(source: Source | RecordSource, **arguments: Any) -> BatchIterator:
    """The batches of ``source``: its own, gathered by the batch, or read record by record.

    Args:
      source: the examples.
      **arguments: those of ``TrainingBatches``; for a record source also those of
        ``finishline.data.records.RecordBatches``.
    """
    if isinstance(source, BatchingSource):
        return source.training_batches(**arguments)
    if isinstance(source, RecordSource):
        return RecordBatches(source, **arguments)
    return TrainingBatches(source, **arguments)


def evaluation_batches(
    source: Source | RecordSource,
    batch_size: int,
    *,
    num_examples: int | None = None,
    seed: int = 0,
) -> Generator[dict[str, np.ndarray]]:
    """Every example exactly once, in batches of one size.

    Args:
      source: the examples. If they have ``weights`` of their own, filling gets 0 there.
      batch_size: examples a batch. The last batch is filled up with zeros.
      num_examples: if smaller than the source, a pseudo-random subset of so many examples, always
        the same for one ``seed``. It is how an evaluation measures a part of the training data.
      seed: of that subset.

    Yields:
      The fields of the source, and ``weights``: float32 of shape (batch_size,), 1 for an example
      and 0 for filling. A ``BatchingSource`` gives what it makes.
    """
    if batch_size < 1:
        raise ValueError(f"The batch size must be positive, not {batch_size}.")
    indices = _evaluated_indices(source, num_examples, seed)
    if isinstance(source, BatchingSource):
        yield from source.evaluation_batches(indices, batch_size)
        return
    with contextlib.closing(_evaluated_batches(source, indices, batch_size)) as batches:
        for batch in batches:
            yield pad_batch(batch, batch_size)


def _evaluated_batches(
    source: Source | RecordSource, indices: np.ndarray, batch_size: int
) -> Generator[dict[str, np.ndarray]]:
    if isinstance(source, RecordSource):
        yield from read_examples(source, indices, batch_size)
        return
    for start in range(0, len(indices), batch_size):
        yield source.gather(indices[start : start + batch_size])


def _evaluated_indices(
    source: Source | RecordSource, num_examples: int | None, seed: int
) -> np.ndarray:
    n = len(source)
    if num_examples is None or num_examples >= n:
        return np.arange(n)
    # Whole blocks where there are any: single rows would touch every page of a large source.
    order = TrainingOrder(n, seed, getattr(source, "block_size", 1))
    return np.sort(order.indices(0, num_examples))  # sorted reads are faster


def pad_batch(batch: dict[str, np.ndarray], batch_size: int) -> dict[str, np.ndarray]:
    """Fills a batch up to ``batch_size`` with zeros, and adds ``weights`` that tell them apart."""
    num_valid = len(next(iter(batch.values())))
    padded = {name: _pad(array, batch_size) for name, array in batch.items()}
    if "weights" not in padded:
        padded["weights"] = _pad(np.ones(num_valid, np.float32), batch_size)
    return padded


def pad_to_multiple(batch: Mapping[str, np.ndarray], divisor: int) -> dict[str, np.ndarray]:
    """A batch of evaluation filled up with zeros, of weight 0, so that ``divisor`` can share it."""
    return {name: _pad(array, -(-len(array) // divisor) * divisor) for name, array in batch.items()}


def _pad(array: np.ndarray, length: int) -> np.ndarray:
    if len(array) == length:
        return array
    padded = np.zeros((length, *array.shape[1:]), array.dtype)
    padded[: len(array)] = array
    return padded
