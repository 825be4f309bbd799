"""A thread that prepares batches ahead of the training loop."""

import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any


class Prefetcher(Iterator[Any]):
    """Hands out ``place(batch)`` for each batch of an iterator; a thread works ahead.

    At most ``depth`` finished batches wait, so memory is bounded. An error in the thread is raised
    from ``__next__`` at the place of the batch that it concerns. Use it as a context manager, or
    call ``close``.

    Attributes:
      position: how many batches have been handed out.
    """

    def __init__(self, iterator: Iterator[Any], place: Callable[[Any], Any], depth: int = 2):
        """Starts the thread.

        Args:
          iterator: only the thread advances it from now on.
          place: called in the thread with each batch, for instance to copy it to the device.
          depth: how many finished batches may wait, at least 1.
        """
        if depth < 1:
            raise ValueError(f"A prefetcher needs a depth of at least 1, not {depth}.")
        self.position = 0
        self._iterator = iterator
        self._place = place
        self._items: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
        self._is_closed = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def __next__(self) -> Any:
        if self._error is None:
            batch, self._error = self._items.get()
        if self._error is not None:
            raise self._error
        self.position += 1
        return batch

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread after the batch it is at; later ``__next__`` raise ``StopIteration``."""
        self._is_closed.set()
        self._error = StopIteration()
        while self._thread.is_alive():
            _drain(self._items)  # the thread may wait for a place in the queue
            self._thread.join(timeout=0.01)
        _drain(self._items)

    def _run(self) -> None:
        while not self._is_closed.is_set():
            try:
                item = (self._place(next(self._iterator)), None)
            except BaseException as error:  # also StopIteration: the consumer is to get it
                self._items.put((None, error))
                return
            self._items.put(item)


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _drain(items: queue.Queue) -> None:
    try:
        while True:
            items.get_nowait()
    except queue.Empty:
        return
