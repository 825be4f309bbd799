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

# Up to here an epoch's permutation is an array (128 MiB at most); above, it is a function.
LARGEST_TABLE = 2**24

_UINT64 = 2**64
_ROUNDS = 8


class TrainingOrder:
    """The endless sequence of example indices: each epoch a new permutation of ``range(n)``.

    Args:
      n: number of examples.
      seed: any integer in [0, 2**64).
    """

    def __init__(self, n: int, seed: int):
        if n < 1:
            raise ValueError(f"A training order needs at least one example, not {n}.")
        if not 0 <= seed < _UINT64:
            raise ValueError(f"The seed must lie in [0, 2**64), and {seed} does not.")
        self.n = n
        self.seed = seed
        self._tables: dict[int, np.ndarray] = {}  # epoch -> permutation, the last two made
        self._lock = threading.Lock()  # reading threads share an order

    def __reduce__(self) -> tuple[type["TrainingOrder"], tuple[int, int]]:
        return TrainingOrder, (self.n, self.seed)  # tables are cheaper to make than to send

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
        if self.n > LARGEST_TABLE:
            ranks = np.arange(rank, rank + count, dtype=np.uint64)
            return _keyed_permutation(ranks, self.n, self.seed, epoch).astype(np.int64)
        with self._lock:
            if epoch not in self._tables:
                while len(self._tables) > 1:
                    del self._tables[next(iter(self._tables))]
                self._tables[epoch] = _permutation_table(self.n, self.seed, epoch)
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


def example_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers for the augmentation of one example in one epoch.

    The streams of different (seed, epoch, index) never overlap, nor does any with the bits that
    shuffle: the index fills the upper half of Philox's 256-bit counter.
    """
    key = np.array([seed, epoch], np.uint64)
    counter = np.array([0, 0, index, 1], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


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
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << shift) | right


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit depends on all bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
