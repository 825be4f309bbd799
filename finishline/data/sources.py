"""Sources of examples that are read by index."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from finishline.data.keyed import ExampleRandom


@runtime_checkable
class Source(Protocol):
    """A split of a data set, read by the batch.

    A source may also have two things that concern training alone:

    - ``gather_augmented(indices, random)``: the examples as training sees them, with augmentation
      from ``random``, an ``ExampleRandom`` of as many examples. Without it training sees what
      ``gather`` returns.
    - ``block_size``: examples that lie beside each other on the disk and are to be read together.
      Training shuffles blocks of so many instead of single examples.
    """

    def __len__(self) -> int:
        """The number of examples."""

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at ``indices`` (int64, shape (n,)): new arrays with leading dimension n."""


@runtime_checkable
class BatchIterator(Protocol):
    """An endless iterator of training batches (dicts of arrays) that knows where it is.

    Attributes:
      position: how many examples of the training order have been handed out, over all ranks. An
        iterator built with this ``position`` continues exactly here.
    """

    position: int

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]: ...

    def __next__(self) -> dict[str, np.ndarray]: ...

    def close(self) -> None:
        """Frees threads and processes, if there are any."""


@runtime_checkable
class BatchingSource(Protocol):
    """A source that makes its own batches, whose fields may have lengths of their own.

    It packs sequences into rows, for instance, or graphs into a batch of a fixed number of nodes,
    so that how many examples a batch holds depends on them. ``gather`` gives a batch of just the
    examples that it is asked for.
    """

    def training_batches(
        self, *, batch_size: int, seed: int, position: int = 0, rank: int = 0, world_size: int = 1
    ) -> BatchIterator:
        """Endless batches from ``position`` on; see ``finishline.data.pipeline.TrainingBatches``.

        What comes after a position must depend on that position alone.
        """

    def evaluation_batches(
        self, indices: np.ndarray, batch_size: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Each of the examples at ``indices`` exactly once, with ``weights``; filling has 0."""


@runtime_checkable
class AugmentedSource(Source, Protocol):
    """A source whose examples are augmented in training."""

    def gather_augmented(self, indices: np.ndarray, random: ExampleRandom) -> dict[str, np.ndarray]:
        """The examples at ``indices`` as training sees them; see ``Source``."""


class ArraySource:
    """Examples in arrays of equal length, in memory or memory-mapped."""

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        """Keeps ``arrays``, one a field, without a copy.

        Raises:
          ValueError: there is no array, or their lengths differ.
        """
        # A plain ndarray over a memory map: np.memmap's Python-level hooks cost more than a gather.
        self.arrays = {name: np.asarray(array) for name, array in arrays.items()}
        lengths = {len(array) for array in self.arrays.values()}
        if len(lengths) != 1:
            raise ValueError(f"The arrays of a source must have one length, not {sorted(lengths)}.")
        self._length = lengths.pop()

    def __len__(self) -> int:
        return self._length

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at ``indices``, as C-contiguous arrays that share no memory with this."""
        return {name: array.take(indices, axis=0) for name, array in self.arrays.items()}


class ShardedArraySource:
    """Examples in arrays that are cut into shards, one after the other."""

    def __init__(self, shards: Sequence[Mapping[str, np.ndarray]]):
        """Keeps ``shards`` without a copy; each has the same fields.

        Raises:
          ValueError: there is no shard, or lengths within one differ.
        """
        self._shards = [ArraySource(arrays) for arrays in shards]
        if not self._shards:
            raise ValueError("A source needs at least one shard.")
        self._starts = np.cumsum([0, *map(len, self._shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at ``indices``, as C-contiguous arrays that share no memory with this."""
        if len(self._shards) == 1:
            return self._shards[0].gather(indices)
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        batch = {
            name: np.empty((len(indices), *array.shape[1:]), array.dtype)
            for name, array in self._shards[0].arrays.items()
        }
        for shard in np.unique(owners):
            mine = np.flatnonzero(owners == shard)
            arrays = self._shards[shard].arrays
            for name, filled in batch.items():
                filled[mine] = arrays[name].take(indices[mine] - self._starts[shard], axis=0)
        return batch


def whole_arrays(shards: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The shards' arrays joined, by field: for fields that are small in all, such as labels."""
    if len(shards) == 1:
        return dict(shards[0])
    return {name: np.concatenate([shard[name] for shard in shards]) for name in shards[0]}
