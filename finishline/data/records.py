"""Data that are read record by record, from files: the counterpart of ``Source`` on grain.

Order, batches, ``position`` and the ranks' slices are those of ``pipeline.TrainingBatches``. What
differs is that threads, or processes, read ahead, and that records can be augmented.
"""

import abc
import concurrent.futures
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from finishline.data.shuffle import TrainingOrder, example_generator, rank_slice

Record = Mapping[str, np.ndarray]

_RECORDS_PER_PART = 32  # at most; see _Parts


class RecordSource(abc.ABC):
    """A split of a data set, read by the record, by several threads at once.

    It is pickled if worker processes read it, so it opens its files when they are needed first.
    """

    @abc.abstractmethod
    def __len__(self) -> int:
        """The number of examples."""

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Record:
        """The example at ``index``, decoded: the fields have the same shapes in all examples."""

    def transform(self, record: Record, rng: np.random.Generator) -> Record:
        """The augmented example for training; as it is, if a source does not override this.

        ``rng`` depends on the seed, the epoch and the index, not on what is read before.
        """
        del rng
        return record


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
            first=position + part.start,
            stride=batch_size,
            rank_size=part.stop - part.start,
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

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at ``indices``, not augmented."""
        return _stack(list(self._threads.map(self._source.__getitem__, indices.tolist())))

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
        self, source: RecordSource, order: TrainingOrder, first: int, stride: int, rank_size: int
    ):
        """Batch b of this rank is positions [first + b * stride, ... + rank_size)."""
        self._source = source
        self._order = order
        self._first = first
        self._stride = stride
        self.size = max(d for d in range(1, _RECORDS_PER_PART + 1) if rank_size % d == 0)
        self.per_batch = rank_size // self.size

    def __len__(self) -> int:
        return 2**60

    def __getitem__(self, i: int) -> dict[str, np.ndarray]:
        batch, part = divmod(i, self.per_batch)
        start = self._first + batch * self._stride + part * self.size
        indices = self._order.indices(start, start + self.size).tolist()
        positions = range(start, start + self.size)
        return _stack([self._read(*pair) for pair in zip(positions, indices, strict=True)])

    def _read(self, position: int, index: int) -> Record:
        rng = example_generator(self._order.seed, position // self._order.n, index)
        return self._source.transform(self._source[index], rng)


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


def _stack(records: Sequence[Record]) -> dict[str, np.ndarray]:
    return {name: np.stack([record[name] for record in records]) for name in records[0]}


def _concatenate(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
