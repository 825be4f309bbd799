"""Data that are read record by record, from files: the counterpart of ``Source`` on grain.

Order, batches, ``position`` and the ranks' slices are those of ``pipeline.TrainingBatches``. What
differs is that threads, or processes, read ahead, and that records can be augmented.
"""

import abc
import concurrent.futures
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from finishline.data.keyed import batch_generator, example_generator
from finishline.data.shuffle import TrainingOrder, rank_slice

Example = Mapping[str, np.ndarray]
Batch = dict[str, np.ndarray]

_RECORDS_PER_PART = 32  # at most; see _Parts


class RecordSource(abc.ABC):
    """A split of a data set, read by the record, by several threads at once.

    A record is what is stored, for instance a JPEG and its label; ``preprocess`` and ``augment``
    make examples of it. The fields of examples have the same shapes in all of them.

    It is pickled if worker processes read it, so it opens its files when they are needed first.
    """

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

        ``rng`` depends on the seed, the epoch and the index, not on what is read before.
        """
        del rng
        return self.preprocess(record)

    def mix(self, examples: Batch, rng: np.random.Generator) -> Batch:
        """Combines training examples that were read together; by default they stay as they are.

        ``examples`` are consecutive ones of a batch, an even number if the batch of a rank is
        even. ``rng`` starts in the same state for all parts of a batch, on all ranks.
        """
        del rng
        return examples

    def gather(self, indices: np.ndarray) -> Batch:
        """The examples at ``indices`` as evaluation sees them, stacked."""
        return _stack([self.preprocess(self[index]) for index in indices.tolist()])


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
        num_threads: int = 16,
        num_workers: int = 0,
    ):
        """Starts at ``position``. See ``pipeline.TrainingBatches`` for what is not said here.

        Args:
          source: the examples.
          batch_size: examples a batch, over all ranks.
          seed: of the shuffling and of the augmentation.
          position: how many examples of the training order to pass over.
          rank: which slice of each batch to hand out.
          world_size: number of slices.
          num_threads: how many threads read, in each process.
          num_workers: how many processes read; with 0, the threads of this one. Processes pay
            where decoding holds Python's lock.

        Raises:
          ValueError: a number is out of range.
        """
        self.position = position
        self._batch_size = batch_size
        part = rank_slice(batch_size, rank, world_size)
        parts = _Parts(
            source,
            TrainingOrder(len(source), seed),
            first=position,
            batch_size=batch_size,
            rank_slice=part,
        )
        self._batches = _read_ahead(parts, num_threads, num_workers)

    def __next__(self) -> dict[str, np.ndarray]:
        batch = next(self._batches)
        self.position += self._batch_size
        return batch

    def close(self) -> None:
        """Ends the threads and processes that read ahead."""
        self._batches.close()


class RecordGatherer:
    """A record source as a ``Source``, for evaluation: threads read the records of a batch."""

    def __init__(self, source: RecordSource, num_threads: int = 16):
        self._source = source
        self._threads = concurrent.futures.ThreadPoolExecutor(num_threads)

    def __len__(self) -> int:
        return len(self._source)

    def gather(self, indices: np.ndarray) -> Batch:
        """The examples at ``indices``, not augmented."""
        return _stack(list(self._threads.map(self._read, indices.tolist())))

    def _read(self, index: int) -> Example:
        return self._source.preprocess(self._source[index])

    def __enter__(self) -> "RecordGatherer":
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown(cancel_futures=True)


class _Parts:
    """One rank's examples from a position on, in parts of equal size; practically endless.

    A part lies within one batch. It is what one thread reads at a time: a task for each record
    would cost more than many a record.
    """

    def __init__(
        self,
        source: RecordSource,
        order: TrainingOrder,
        *,
        first: int,
        batch_size: int,
        rank_slice: slice,
    ):
        """Batch b is positions [first + b * batch_size, ...), and ``rank_slice`` of it ours."""
        self._source = source
        self._order = order
        self._first = first
        self._batch_size = batch_size
        self._offset = rank_slice.start
        rank_size = rank_slice.stop - rank_slice.start
        self.size = _part_size(rank_size)
        self.per_batch = rank_size // self.size

    def __len__(self) -> int:
        return 2**60

    def __getitem__(self, i: int) -> Batch:
        batch, part = divmod(i, self.per_batch)
        batch_start = self._first + batch * self._batch_size
        start = batch_start + self._offset + part * self.size
        indices = self._order.indices(start, start + self.size).tolist()
        positions = range(start, start + self.size)
        examples = _stack([self._read(*pair) for pair in zip(positions, indices, strict=True)])
        return self._source.mix(examples, batch_generator(self._order.seed, batch_start))

    def _read(self, position: int, index: int) -> Example:
        rng = example_generator(self._order.seed, position // self._order.n, index)
        return self._source.augment(self._source[index], rng)


def _part_size(rank_size: int) -> int:
    """The largest part that divides a rank's batch; even if the batch is, so that pairs stay."""
    step = 2 if rank_size % 2 == 0 else 1
    return max(d for d in range(step, _RECORDS_PER_PART + 1, step) if rank_size % d == 0)


def _read_ahead(parts: _Parts, num_threads: int, num_workers: int) -> Any:
    """An iterator of batches, in order; about two batches are read ahead, or a part a thread."""
    import grain  # takes seconds, and imports JAX
    from absl import flags

    options = grain.ReadOptions(num_threads, max(num_threads, 2 * parts.per_batch))
    read = grain.MapDataset.source(parts).to_iter_dataset(options)
    if num_workers > 0:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain reads its flags, which then have their defaults
        # The processes take turns by the part, so their number does not show in the batches.
        read = read.mp_prefetch(grain.MultiprocessingOptions(num_workers))
    return iter(read.batch(parts.per_batch, batch_fn=_concatenate))


def _stack(examples: Sequence[Example]) -> Batch:
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def _concatenate(parts: Sequence[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
