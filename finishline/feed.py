"""Feeding a submission: batches on the device and random keys, both by position alone."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from finishline.data.pipeline import BatchIterator
from finishline.frameworks.base import NumpyBatch

_CHUNK_BYTES = 4 * 1024 * 1024
_MAX_CHUNK = 8
_KEYS_PER_STEP = 2
_STEPS_PER_BLOCK = 32


class Feed(Iterator[Any]):
    """The ``input_queue`` of a submission.

    Small batches are placed several at a time, because one transfer can cost as much as a training
    step of a small model.

    Attributes:
      position: examples handed out so far, over all ranks; all that a resume needs.
    """

    def __init__(
        self,
        batches: BatchIterator,
        place: Callable[[Sequence[NumpyBatch]], Iterable[Any]],
        batch_size: int,
    ):
        self.position = batches.position
        self._batch_size = batch_size
        first = next(batches)
        self._batches: Iterator[NumpyBatch] = itertools.chain([first], batches)
        self._place = place
        self._chunk_size = _chunk_size(first)
        self._ready: Iterator[Any] = iter(())

    def __next__(self) -> Any:
        batch = next(self._ready, None)
        if batch is None:
            chunk = list(itertools.islice(self._batches, self._chunk_size))
            self._ready = iter(self._place(chunk))
            batch = next(self._ready)
        self.position += self._batch_size
        return batch


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
