"""``algoperf.random_utils``: random keys of two 32-bit words, for both frameworks."""

from typing import Any

import numpy as np


def PRNGKey(seed: int) -> np.ndarray:
    """A key from an integer; shape (2,), uint32."""
    return np.random.SeedSequence(seed % 2**64).generate_state(2)


def fold_in(key: Any, data: int) -> np.ndarray:
    """A key that depends on ``key`` and ``data``."""
    return np.random.SeedSequence([*_words(key), int(data) % 2**32]).generate_state(2)


def split(key: Any, num: int = 2) -> np.ndarray:
    """``num`` independent keys; shape (num, 2)."""
    return np.random.SeedSequence(_words(key)).generate_state(2 * num).reshape(num, 2)


def _words(key: Any) -> list[int]:
    return [int(word) for word in np.asarray(key).ravel().astype(np.uint32)]
