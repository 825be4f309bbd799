"""Data that are read record by record, by threads that work ahead: the counterpart of ``Source``.

Order, batches, ``position`` and the ranks' slices are those of ``pipeline.TrainingBatches``. What
differs is that threads read ahead, and that records are augmented one by one.
"""

import abc
import collections
import concurrent.futures
import itertools
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from finishline.data.keyed import batch_generator, example_generator
from finishline.data.prefetch import available_cores
from finishline.data.shuffle import TrainingOrder, rank_slice

Example = Mapping[str, np.ndarray]
Batch = dict[str, np.ndarray]

_RECORDS_PER_PART = 32  # at most; what a thread reads at a time

T = TypeVar("T")
# The parts of one batch: which rows they fill, and what there is to read.
_Plan = Sequence[tuple[slice, T]]


class RecordSource(abc.ABC):
    """A split of a data set, read by the record, by several threads at once.

    A record is what is stored, for instance a JPEG and its label; ``preprocess`` and ``augment``
    make examples of it. The fields of examples have the same shapes in all of them.

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
        even. ``rng`` starts in the same state for all parts of a batch, on all ranks.
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
        self._batches = read_ahead(plans, self._read, num_threads)

    def __next__(self) -> dict[str, np.ndarray]:
        batch = next(self._batches)
        self.position += self._batch_size
        return batch

    def close(self) -> None:
        """Ends the threads that read ahead."""
        self._batches.close()

    def _read(self, part: tuple[int, range]) -> Batch:
        """A part of a batch: where the batch starts, and the part's positions."""
        batch_start, positions = part
        n, seed = self._order.n, self._order.seed
        indices = self._order.indices(positions.start, positions.stop).tolist()
        examples = []
        for position, index in zip(positions, indices, strict=True):
            epoch = 0 if self._source.frozen_augmentation else position // n
            rng = example_generator(seed, epoch, index)
            examples.append(self._source.augment(self._source[index], rng))
        return self._source.mix(stack(examples), batch_generator(seed, batch_start))


def _training_plans(
    position: int, batch_size: int, rank_slice: slice
) -> Iterator[_Plan[tuple[int, range]]]:
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
    return read_ahead(plans, source.gather, num_threads)


def read_ahead(
    plans: Iterable[_Plan[T]], read: Callable[[T], Batch], num_threads: int | None = None
) -> Generator[Batch]:
    """A generator of batches in the order of ``plans``; threads read a few of them ahead.

    An error of ``read`` is raised at the place of its batch, and nothing comes after it.

    Args:
      plans: the parts of each batch.
      read: reads one part; called by several threads at once.
      num_threads: see ``RecordBatches``.
    """
    num_threads = available_cores() if num_threads is None else num_threads
    if num_threads == 0:
        for plan in plans:
            batch = _Batch(plan)
            for rows, part in plan:
                batch.put(rows, read(part))
            yield batch.arrays
        return
    pending: collections.deque[_PendingBatch] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(num_threads, "read") as pool:
        try:
            for plan in plans:
                pending.append(_PendingBatch(pool, plan, read))
                # Enough that no thread waits, even while one slow part holds its batch back.
                if len(pending) > 1 + -(-num_threads // len(plan)):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class _Batch:
    """A batch in the making: threads put parts into it.

    Attributes:
      arrays: by field; complete when every part has been put.
    """

    def __init__(self, plan: _Plan[Any]):
        self._size = plan[-1][0].stop
        self._lock = threading.Lock()
        self.arrays: Batch = {}

    def put(self, rows: slice, examples: Batch) -> None:
        """Puts examples into their rows."""
        if rows == slice(0, self._size):
            self.arrays = examples
            return
        with self._lock:
            if not self.arrays:
                self.arrays = {
                    name: np.empty((self._size, *array.shape[1:]), array.dtype)
                    for name, array in examples.items()
                }
        for name, array in examples.items():
            self.arrays[name][rows] = array


class _PendingBatch:
    """A batch that a pool of threads is reading."""

    def __init__(
        self, pool: concurrent.futures.Executor, plan: _Plan[T], read: Callable[[T], Batch]
    ):
        self._batch = _Batch(plan)
        self._read = read
        self._parts = [pool.submit(self._fill, rows, part) for rows, part in plan]

    def result(self) -> Batch:
        """The batch; waits for it."""
        for part in self._parts:
            part.result()
        return self._batch.arrays

    def _fill(self, rows: slice, part: Any) -> None:
        self._batch.put(rows, self._read(part))


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
