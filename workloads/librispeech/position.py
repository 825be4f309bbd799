"""The position embedding of the speech models: fixed, so it is no parameter."""

import math

import numpy as np

LONGEST = 10_000.0


def frequencies(num_features: int) -> np.ndarray:
    """The frequencies of a sinusoidal position embedding: float32, (num_features / 2,).

    Position t has the features [sin(w t), cos(w t)], with w from 1 to 1 / LONGEST in equal ratios.
    Source: Vaswani et al., 2017, arXiv:1706.03762, section 3.5.

    Args:
      num_features: features a position; even, at least 4.
    """
    count = num_features // 2
    return np.exp(-math.log(LONGEST) * np.arange(count) / (count - 1)).astype(np.float32)
