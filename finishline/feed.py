"""Feeding a submission: batches on the device and random keys, both by position alone."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Any

import numpy as np

from finishline.data.prefetch import Prefetcher
from finishline.data.sources import BatchIterator
from finishline.frameworks.base import NumpyBatch

_CHUNK_BYTES = 4 * 1024 * 1024
_MAX_CHUNK = 8
_KEYS_PER_STEP = 2
_STEPS_PER_BLOCK = 32

_Chunk = Sequence[tuple[NumpyBatch, int]]


class Feed(Iterator[Any]):
    """The ``input_queue`` of a submission.

    Small batches are placed several at a time, because one transfer can cost as much as a training
    step of a small model.

    Attributes:
      position: examples handed out so far, over all ranks; all that a resume needs.
      wait_seconds: how long callers have waited for data: while batches were gathered, or, with
        ``prefetch``, until they were there.
    """

    def __init__(
        self,
        batches: BatchIterator,
        place: Callable[[Sequence[NumpyBatch]], Iterable[Any]],
        *,
        prefetch: bool = False,
    ):
        """Starts at the position of ``batches``.

        Args:
          batches: what to hand out.
          place: brings batches to the device.
          prefetch: whether a thread gathers and places ahead. It pays where the device computes
            while the host would wait; on a CPU it only takes cores from the training.
        """
        self.position = batches.position
        self.wait_seconds = 0.0

        def placed(chunk: _Chunk) -> Iterable[tuple[Any, int]]:
            return zip(place([batch for batch, _ in chunk]), [at for _, at in chunk], strict=True)

        chunks = _chunks(batches)
        self._placed: Iterator[Iterable[tuple[Any, int]]] = (
            Prefetcher(chunks, lambda chunk: list(placed(chunk)))
            if prefetch
            else map(placed, chunks)
        )
        self._ready: Iterator[tuple[Any, int]] = iter(())

    def __next__(self) -> Any:
        item = next(self._ready, None)
        if item is None:
            before = monotonic()
            self._ready = iter(next(self._placed))
            item = next(self._ready)
            self.wait_seconds += monotonic() - before
        batch, self.position = item
        return batch


def _chunks(batches: BatchIterator) -> Iterator[_Chunk]:
    """Lists of batches that are placed together, each with the position after it."""
    positioned = ((batch, batches.position) for batch in batches)
    first = next(positioned)
    size = _chunk_size(first[0])
    yield [first, *itertools.islice(positioned, size - 1)]
    while chunk := list(itertools.islice(positioned, size)):
        yield chunk


def _chunk_size(batch: NumpyBatch) -> int:
    batch_bytes = sum(array.nbytes for array in batch.values())
    return max(1, min(_MAX_CHUNK, _CHUNK_BYTES // batch_bytes))


class Keys:
    """Random keys for each step, a function of (seed, step) alone."""

    def __init__(self, seed: int, place: Callable[[np.ndarray], Iterable[Any]]):
        self._seed = seed
        self._place = place
        self._block = -1
        self._keys: list[Any] = []

    def of(self, step: int) -> tuple[Any, Any]:
        """The keys for ``data_selection`` and ``update_params`` in step ``step``."""
        block, offset = divmod(step, _STEPS_PER_BLOCK)
        if block != self._block:
            self._block, self._keys = block, list(self._place(self._bits(block)))
        first = _KEYS_PER_STEP * offset
        return self._keys[first], self._keys[first + 1]

    def extra(self, step: int) -> Any:
        """A further key, for ``init_optimizer_state`` (step -1) and ``prepare_for_eval``."""
        return next(iter(self._place(self._bits(-2 - step)[:1])))

    def _bits(self, block: int) -> np.ndarray:
        # Blocks below zero are the extra keys; Philox counters are unsigned.
        generator = np.random.Philox(key=self._seed, counter=block % 2**64 << 64)
        return (
            generator.random_raw(_KEYS_PER_STEP * _STEPS_PER_BLOCK).view(np.uint32).reshape(-1, 2)
        )
