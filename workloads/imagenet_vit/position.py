"""The position embedding of the Vision Transformer: fixed, so it is no parameter."""

import numpy as np

TEMPERATURE = 10_000.0


def sincos_position_embedding(height: int, width: int, num_features: int) -> np.ndarray:
    """Sines and cosines of the coordinates of a grid's cells at several frequencies.

    The cell in row y and column x, at index y * width + x, has the features
    [sin(w x), cos(w x), sin(w y), cos(w y)] for the frequencies w_i = TEMPERATURE^(-i / (n - 1)),
    i = 0, ..., n - 1, where n is a quarter of ``num_features``.

    Source: Chen, Xie and He, 2021, "An empirical study of training self-supervised vision
    transformers" (MoCo v3), arXiv:2104.02057.

    Args:
      height: rows of the grid.
      width: columns of the grid.
      num_features: features a cell; a multiple of 4, at least 8.

    Returns:
      float32, (height * width, num_features).
    """
    n = num_features // 4
    frequencies = TEMPERATURE ** -(np.arange(n) / (n - 1))
    y, x = np.mgrid[:height, :width].reshape(2, -1, 1) * frequencies  # each (height * width, n)
    return np.concatenate([np.sin(x), np.cos(x), np.sin(y), np.cos(y)], axis=1).astype(np.float32)
