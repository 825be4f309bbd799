"""The structural similarity of images, in JAX.

The PyTorch twin is in ``finishline/frameworks/pytorch/ssim.py``.
"""

import functools
import operator

import jax
import jax.numpy as jnp

WINDOW = 7  # pixels
K1, K2 = 0.01, 0.03


def structural_similarity(images: jax.Array, references: jax.Array, ranges: jax.Array) -> jax.Array:
    """SSIM of each image to its reference, as fastMRI measures it, with values in [-1, 1].

    With m, s^2 and c the mean, variance and covariance in a window of 7 x 7 pixels, L the range and
    C1 = (0.01 L)^2, C2 = (0.03 L)^2, it is the mean over all windows within the image of

        (2 m_x m_y + C1) (2 c_xy + C2) / ((m_x^2 + m_y^2 + C1) (s_x^2 + s_y^2 + C2)).

    Variances and covariance are those of a sample: sums are divided by 48, not 49.

    Sums of windows are sums of slices, which no GPU rounds to TF32 as it may the products of a
    convolution. The mean of the reference is taken off before squares are summed, so that little
    is lost where they cancel.

    Sources: Wang, Bovik, Sheikh and Simoncelli, 2004, "Image quality assessment: From error
    visibility to structural similarity", IEEE Transactions on Image Processing 13(4); Zbontar et
    al., 2018, arXiv:1811.08839, section 5.

    Args:
      images: (batch, height, width), at least 7 x 7.
      references: of the same shape.
      ranges: the range of values, (batch,); 0 counts as 1.

    Returns:
      (batch,).
    """
    scale = jnp.where(ranges == 0, 1, ranges)[:, None, None]
    offset = references.mean(axis=(1, 2), keepdims=True)
    x = (images - offset) / scale  # in units of the range, so that L is 1
    y = (references - offset) / scale
    count = WINDOW**2
    maps = jnp.stack([x, y, x * x, y * y, x * y])  # (5, batch, height, width)
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = _window_sums(maps) / count
    to_sample = count / (count - 1)
    variances = to_sample * (mean_xx - mean_x**2 + mean_yy - mean_y**2)
    covariance = to_sample * (mean_xy - mean_x * mean_y)
    mean_x, mean_y = mean_x + offset / scale, mean_y + offset / scale
    luminance = (2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2)
    structure = (2 * covariance + K2**2) / (variances + K2**2)
    return (luminance * structure).mean(axis=(1, 2)).clip(-1, 1)


def _window_sums(maps: jax.Array) -> jax.Array:
    """(..., height, width) to the sums of all windows, (..., height - 6, width - 6)."""
    height, width = (length - WINDOW + 1 for length in maps.shape[-2:])
    rows = functools.reduce(operator.add, (maps[..., i : i + height, :] for i in range(WINDOW)))
    return functools.reduce(operator.add, (rows[..., i : i + width] for i in range(WINDOW)))
