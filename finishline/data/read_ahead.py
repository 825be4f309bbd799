"""Threads that read a few batches ahead, each example straight into its row of the batch."""

import collections
import concurrent.futures
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from finishline.data.prefetch import available_cores

Example = Mapping[str, np.ndarray]
Batch = dict[str, np.ndarray]

T = TypeVar("T")
# The parts of one batch: which rows they fill, and what there is to read.
Plan = Sequence[tuple[slice, T]]


def read_ahead(
    plans: Iterable[Plan[T]],
    read: Callable[[T], Iterable[Example]],
    mix: Callable[[T, Batch], Batch] | None = None,
    num_threads: int | None = None,
) -> Generator[Batch]:
    """A generator of batches in the order of ``plans``; threads read a few of them ahead.

    An error of ``read`` is raised at the place of its batch, and nothing comes after it.

    Args:
      plans: the parts of each batch.
      read: reads the examples of one part; called by several threads at once.
      mix: changes the examples of a part once they are in the batch; what it leaves as it is, or
        changes in place, is not copied.
      num_threads: how many threads read; None is one a core. With 0, a batch is read when it is
        asked for, by who asks.
    """
    num_threads = available_cores() if num_threads is None else num_threads
    if num_threads == 0:
        for plan in plans:
            batch = BatchInProgress(plan[-1][0].stop)
            for rows, part in plan:
                _fill(batch, rows, part, read, mix)
            yield batch.arrays
        return
    pending: collections.deque[_PendingBatch] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(num_threads, "read") as pool:
        try:
            for plan in plans:
                pending.append(_PendingBatch(pool, plan, read, mix))
                # Enough that no thread waits, even while one slow part holds its batch back.
                if len(pending) > 1 + -(-num_threads // len(plan)):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class BatchInProgress:
    """A batch whose rows are filled by several threads.

    Its memory is allocated once for all rows: to stack examples and copy the stacks takes as long
    as a tenth of the decoding of a JPEG, most of it in the kernel for pages of new memory.

    Attributes:
      arrays: by field; complete when all rows have been put.
    """

    def __init__(self, size: int):
        self.arrays: Batch = {}
        self._size = size
        self._lock = threading.Lock()
        self._allocated: dict[Any, np.ndarray] = {}

    def write(self, rows: slice, examples: Iterable[Example]) -> Batch:
        """Writes examples into ``rows``, and returns these rows by field: views, not yet put."""
        views: Batch = {}
        for row, example in enumerate(examples):
            if not views:
                views = {
                    name: self._rows(name, rows, value.shape, value.dtype)
                    for name, value in example.items()
                }
            for name, value in example.items():
                views[name][row] = value
        return views

    def put(self, rows: slice, written: Batch, final: Batch) -> None:
        """Makes ``final`` the content of ``rows``; what is in ``written`` too is in its place."""
        for name, values in final.items():
            if values is not written.get(name):
                self._rows(name, rows, values.shape[1:], values.dtype)[...] = values
            self.arrays[name] = self._allocated[_key(name, values.shape[1:], values.dtype)]

    def _rows(self, name: str, rows: slice, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        with self._lock:
            key = _key(name, shape, dtype)
            if key not in self._allocated:
                self._allocated[key] = np.empty((self._size, *shape), dtype)
        return self._allocated[key][rows]


def _key(name: str, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Any, ...]:
    return name, shape, dtype  # a field that mixing replaces can have another shape or type


class _PendingBatch:
    """A batch that a pool of threads is reading."""

    def __init__(
        self,
        pool: concurrent.futures.Executor,
        plan: Plan[T],
        read: Callable[[T], Iterable[Example]],
        mix: Callable[[T, Batch], Batch] | None,
    ):
        self._batch = BatchInProgress(plan[-1][0].stop)
        self._parts = [
            pool.submit(_fill, self._batch, rows, part, read, mix) for rows, part in plan
        ]

    def result(self) -> Batch:
        """The batch; waits for it."""
        for part in self._parts:
            part.result()
        return self._batch.arrays


def _fill(
    batch: BatchInProgress,
    rows: slice,
    part: T,
    read: Callable[[T], Iterable[Example]],
    mix: Callable[[T, Batch], Batch] | None,
) -> None:
    """Fills the rows of one part."""
    written = batch.write(rows, read(part))
    batch.put(rows, written, written if mix is None else mix(part, dict(written)))
