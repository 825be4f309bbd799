"""Random numbers for augmentation that depend on (seed, epoch, index) alone.

So an example is augmented alike whatever the batch size, the number of devices or threads, and
wherever a run was interrupted.
"""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio, the step of SplitMix64


class ExampleRandom:
    """The random numbers of a batch of examples.

    ``uniform`` serves all examples at once and is for small examples; ``generator`` gives one
    example a ``numpy.random.Generator``, which takes about 10 us to make.

    Attributes:
      seed: of the run.
      epochs: how often each example has been seen before: int64, shape (n,).
      indices: of the examples in their split: int64, shape (n,).
    """

    def __init__(self, seed: int, epochs: np.ndarray, indices: np.ndarray):
        self.seed = seed
        self.epochs = epochs
        self.indices = indices

    def uniform(self, count: int) -> np.ndarray:
        """``count`` numbers in [0, 1) for each example: float64, shape (n, count).

        The first numbers do not depend on ``count``. They are SplitMix64 (Steele, Lea and Flood,
        2014, "Fast splittable pseudorandom number generators"), started from a hash of the key.
        """
        with np.errstate(over="ignore"):
            state = mix(np.full(len(self.indices), self.seed, np.uint64) + _GOLDEN)
            state = mix(state ^ self.epochs.astype(np.uint64))
            state = mix(state ^ mix(self.indices.astype(np.uint64) + _GOLDEN))
            steps = np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
            bits = mix(state[:, None] + steps)
        return (bits >> np.uint64(11)) * 2.0**-53

    def generator(self, i: int) -> np.random.Generator:
        """A generator for the example at position ``i`` of the batch."""
        return example_generator(self.seed, int(self.epochs[i]), int(self.indices[i]))


def example_generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers for the augmentation of one example in one epoch.

    The streams of different (seed, epoch, index) never overlap, nor does any with the bits that
    shuffle: the index fills the upper half of Philox's 256-bit counter.
    """
    return _philox(seed, epoch, index, purpose=1)


def batch_generator(seed: int, position: int) -> np.random.Generator:
    """The random numbers of one batch, the same on all ranks.

    ``position`` is that of the batch's first example in the training order.
    """
    return _philox(seed, 0, position, purpose=2)


def _philox(seed: int, epoch: int, index: int, *, purpose: int) -> np.random.Generator:
    key = np.array([seed, epoch], np.uint64)
    counter = np.array([0, 0, index, purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit depends on all bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
