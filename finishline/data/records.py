"""Data that are read record by record, by threads that work ahead: the counterpart of ``Source``.

Order, batches, ``position`` and the ranks' slices are those of ``pipeline.TrainingBatches``. What
differs is that threads read ahead, and that records are augmented one by one.
"""

import abc
import itertools
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

from finishline.data.keyed import batch_generator, example_generator
from finishline.data.prefetch import available_cores
from finishline.data.read_ahead import Batch, Example, Plan, read_ahead
from finishline.data.shuffle import TrainingOrder, rank_slice

_RECORDS_PER_PART = 32  # at most; what a thread reads at a time


class RecordSource(abc.ABC):
    """A split of a data set, read by the record, by several threads at once.

    A record is what is stored, for instance a JPEG and its label; ``preprocess`` and ``augment``
    make examples of it. The fields of examples have the same shapes and types in all of them.

    Attributes:
      frozen_augmentation: whether an example is augmented alike in every epoch.
    """

    frozen_augmentation = False

    @abc.abstractmethod
    def __len__(self) -> int:
        """The number of examples."""

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Any:
        """The record at ``index``."""

    def preprocess(self, record: Any) -> Example:
        """The example as evaluation sees it; by default the record itself."""
        return record

    def augment(self, record: Any, rng: np.random.Generator) -> Example:
        """The example as training sees it; by default as evaluation does.

        ``rng`` depends on the seed, the epoch and the index, not on what is read before. With
        ``frozen_augmentation`` the epoch is always 0.
        """
        del rng
        return self.preprocess(record)

    def mix(self, examples: Batch, rng: np.random.Generator) -> Batch:
        """Combines training examples that were read together; by default they stay as they are.

        ``examples`` are consecutive ones of a batch, an even number if the batch of a rank is
        even. They lie in the batch already, and are best changed in place. ``rng`` starts in the
        same state for all parts of a batch, on all ranks.
        """
        del rng
        return examples

    def gather(self, indices: np.ndarray) -> Batch:
        """The examples at ``indices`` as evaluation sees them, stacked."""
        return stack([self.preprocess(self[index]) for index in indices.tolist()])


class RecordBatches(Iterator[dict[str, np.ndarray]]):
    """Endless training batches from a record source.

    Attributes:
      position: how many examples of the training order have been handed out, over all ranks. What
        has been read ahead does not count.
    """

    def __init__(
        self,
        source: RecordSource,
        *,
        batch_size: int,
        seed: int,
        position: int = 0,
        rank: int = 0,
        world_size: int = 1,
        num_threads: int | None = None,
    ):
        """Starts at ``position``. See ``pipeline.TrainingBatches`` for what is not said here.

        Args:
          source: the examples.
          batch_size: examples a batch, over all ranks.
          seed: of the shuffling and of the augmentation.
          position: how many examples of the training order to pass over.
          rank: which slice of each batch to hand out.
          world_size: number of slices.
          num_threads: how many threads read ahead; None is one a core, shared by the ranks. With
            0, a batch is read when it is asked for, by who asks.

        Raises:
          ValueError: a number is out of range.
        """
        self.position = position
        self._batch_size = batch_size
        self._source = source
        self._order = TrainingOrder(len(source), seed)
        if num_threads is None:
            num_threads = max(1, available_cores() // world_size)
        plans = _training_plans(position, batch_size, rank_slice(batch_size, rank, world_size))
        self._batches = read_ahead(plans, self._read, self._mix, num_threads)

    def __next__(self) -> dict[str, np.ndarray]:
        batch = next(self._batches)
        self.position += self._batch_size
        return batch

    def close(self) -> None:
        """Ends the threads that read ahead."""
        self._batches.close()

    def _read(self, part: tuple[int, range]) -> Iterator[Example]:
        """A part of a batch: where the batch starts, and the part's positions."""
        _, positions = part
        n, seed = self._order.n, self._order.seed
        indices = self._order.indices(positions.start, positions.stop).tolist()
        for position, index in zip(positions, indices, strict=True):
            epoch = 0 if self._source.frozen_augmentation else position // n
            rng = example_generator(seed, epoch, index)
            yield self._source.augment(self._source[index], rng)

    def _mix(self, part: tuple[int, range], examples: Batch) -> Batch:
        batch_start, _ = part
        return self._source.mix(examples, batch_generator(self._order.seed, batch_start))


def _training_plans(
    position: int, batch_size: int, rank_slice: slice
) -> Iterator[Plan[tuple[int, range]]]:
    """The plans of one rank's batches from ``position`` on; endless."""
    rank_size = rank_slice.stop - rank_slice.start
    rows = _parts(rank_size, _part_size(rank_size))
    for batch_start in itertools.count(position, batch_size):
        first = batch_start + rank_slice.start
        yield [(part, (batch_start, range(first + part.start, first + part.stop))) for part in rows]


def read_examples(
    source: RecordSource, indices: np.ndarray, batch_size: int, num_threads: int | None = None
) -> Generator[Batch]:
    """The examples at ``indices`` as evaluation sees them, in batches; the last may be smaller.

    Args:
      source: the examples.
      indices: int64, shape (n,).
      batch_size: examples a batch.
      num_threads: see ``RecordBatches``.
    """
    batches = (indices[i : i + batch_size] for i in range(0, len(indices), batch_size))
    plans = (
        [(rows, batch[rows]) for rows in _parts(len(batch), _RECORDS_PER_PART)] for batch in batches
    )

    def read(part: np.ndarray) -> Iterator[Example]:
        return (source.preprocess(source[index]) for index in part.tolist())

    return read_ahead(plans, read, num_threads=num_threads)


def _parts(size: int, part_size: int) -> list[slice]:
    """The rows of a batch of ``size``, cut into parts."""
    return [slice(i, min(i + part_size, size)) for i in range(0, size, part_size)]


def _part_size(rank_size: int) -> int:
    """Rows a part: even if the batch is, so that neighbours can be mixed in pairs.

    A batch smaller than two full parts is halved, so that two threads share it.
    """
    return min(_RECORDS_PER_PART, max(2, rank_size // 2 // 2 * 2))


def stack(examples: Sequence[Example]) -> Batch:
    """A batch of ``examples``, by field."""
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}
