"""Stateless shuffling: which example is at which position of the training order.

Position p lies in epoch p // n at rank p % n, and each epoch is a permutation of the n examples
that depends on (n, seed, epoch) alone. So the whole state of a data pipeline is one integer, and
the order does not depend on batch size, devices, threads or framework.

Only raw Philox bits, stable sorts and integer arithmetic are used, which NumPy keeps fixed across
versions; its ``Generator.permutation`` may change.
"""

import hashlib
import threading

import numpy as np

from finishline.data.keyed import mix

# Up to here an epoch's permutation is an array (128 MiB at most); above, it is a function.
LARGEST_TABLE = 2**24

_UINT64 = 2**64
_ROUNDS = 8


class TrainingOrder:
    """The endless sequence of example indices: each epoch a new permutation of ``range(n)``.

    Args:
      n: number of examples.
      seed: any integer in [0, 2**64).
      block_size: if above 1, blocks of so many consecutive examples are shuffled instead of single
        examples, for data that are too large to be read example by example. What is left over
        after the last whole block comes at the end of each epoch.
    """

    def __init__(self, n: int, seed: int, block_size: int = 1):
        if n < 1:
            raise ValueError(f"A training order needs at least one example, not {n}.")
        if not 0 <= seed < _UINT64:
            raise ValueError(f"The seed must lie in [0, 2**64), and {seed} does not.")
        if block_size < 1:
            raise ValueError(f"The block size must be positive, not {block_size}.")
        self.n = n
        self.seed = seed
        self.block_size = block_size
        self._num_blocks = n // block_size
        self._tables: dict[int, np.ndarray] = {}  # epoch -> permutation, the last two made
        self._lock = threading.Lock()  # reading threads share an order

    def __reduce__(self) -> tuple[type["TrainingOrder"], tuple[int, int, int]]:
        return TrainingOrder, (
            self.n,
            self.seed,
            self.block_size,
        )  # tables are cheaper to make than to send

    def indices(self, start: int, stop: int) -> np.ndarray:
        """The example indices at positions ``start`` to ``stop - 1``: int64, shape (stop - start,).

        A range may cross any number of epochs.
        """
        if not 0 <= start <= stop:
            raise ValueError(f"Positions {start} to {stop} are not a range.")
        parts = []
        while start < stop:
            epoch, rank = divmod(start, self.n)
            count = min(stop - start, self.n - rank)
            parts.append(self._part(epoch, rank, count))
            start += count
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _part(self, epoch: int, rank: int, count: int) -> np.ndarray:
        """The indices at ranks ``rank`` to ``rank + count - 1`` of one epoch."""
        if self.block_size == 1:
            return self._blocks(epoch, rank, count)
        ranks = np.arange(rank, rank + count)
        in_blocks = ranks[ranks < self._num_blocks * self.block_size]
        if not in_blocks.size:
            return ranks
        blocks, offsets = np.divmod(in_blocks, self.block_size)
        first = int(blocks[0])
        permuted = self._blocks(epoch, first, int(blocks[-1]) - first + 1)
        indices = permuted[blocks - first] * self.block_size + offsets
        return np.concatenate([indices, ranks[in_blocks.size :]])

    def _blocks(self, epoch: int, rank: int, count: int) -> np.ndarray:
        """The numbers of the blocks at ranks ``rank`` to ``rank + count - 1`` of one epoch."""
        n = self._num_blocks
        if n > LARGEST_TABLE:
            ranks = np.arange(rank, rank + count, dtype=np.uint64)
            return _keyed_permutation(ranks, n, self.seed, epoch).astype(np.int64)
        with self._lock:
            if epoch not in self._tables:
                while len(self._tables) > 1:
                    del self._tables[next(iter(self._tables))]
                self._tables[epoch] = _permutation_table(n, self.seed, epoch)
            return self._tables[epoch][rank : rank + count]


def training_indices(n: int, seed: int, start: int, stop: int) -> np.ndarray:
    """The example indices at positions ``start`` to ``stop - 1`` of the training order."""
    return TrainingOrder(n, seed).indices(start, stop)


def hash_of_order(n: int, seed: int, count: int) -> str:
    """SHA-256 (hexadecimal) of the first ``count`` indices as little-endian int64."""
    return hashlib.sha256(training_indices(n, seed, 0, count).astype("<i8").tobytes()).hexdigest()


def rank_slice(batch_size: int, rank: int, world_size: int) -> slice:
    """The slice of a batch of ``batch_size`` examples that belongs to ``rank``.

    Raises:
      ValueError: the batch cannot be cut into ``world_size`` equal parts, or there is no such rank.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"Rank {rank} is not one of {world_size}.")
    if batch_size < 1 or batch_size % world_size:
        raise ValueError(
            f"The batch size {batch_size} is not a positive multiple of the number of processes, "
            f"{world_size}."
        )
    size = batch_size // world_size
    return slice(rank * size, (rank + 1) * size)


def _permutation_table(n: int, seed: int, epoch: int) -> np.ndarray:
    bits = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(n)
    return np.argsort(bits, kind="stable")


def _keyed_permutation(ranks: np.ndarray, n: int, seed: int, epoch: int) -> np.ndarray:
    """Where a permutation of ``range(n)`` keyed by (seed, epoch) sends ``ranks`` (uint64).

    A balanced Feistel network permutes [0, 4**k), the smallest such range that holds n values;
    what falls outside ``range(n)`` is sent on until it falls inside ("cycle walking", Black and
    Rogaway, 2002, "Ciphers with arbitrary finite domains"), which keeps the map one-to-one.
    """
    half_bits = ((n - 1).bit_length() + 1) // 2
    keys = np.random.Philox(key=np.array([seed, epoch], np.uint64)).random_raw(_ROUNDS)
    images = _feistel(ranks, half_bits, keys)
    outside = np.flatnonzero(images >= n)
    while outside.size:
        images[outside] = _feistel(images[outside], half_bits, keys)
        outside = outside[images[outside] >= n]
    return images


def _feistel(values: np.ndarray, half_bits: int, keys: np.ndarray) -> np.ndarray:
    shift, mask = np.uint64(half_bits), np.uint64(2**half_bits - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (mix(right ^ key) & mask)
    return (left << shift) | right
