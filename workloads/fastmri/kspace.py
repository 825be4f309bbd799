"""From measurements of a slice to an image, and which of the measurements are kept.

A scan measures k-space, the two-dimensional Fourier transform of the image, one column at a time.
Leaving out three columns of four makes it four times as fast; what is left out counts as zero.
Source: Zbontar et al., 2018, "fastMRI: An open dataset and benchmarks for accelerated MRI",
arXiv:1811.08839, sections 2 and 4.

The transform is separable and columns are kept or left out as a whole, so that the half of it
along the columns is the same whatever is kept. It is done once, when the data are prepared, and
only the rows that the image has are stored: ``half_transformed``. What remains is ``image``.
"""

import functools

import numpy as np

ACCELERATION = 4
CENTER_FRACTION = 0.08
CLIP = 6.0  # standard deviations


def half_transformed(kspace: np.ndarray, size: int) -> np.ndarray:
    """The centred, orthonormal inverse transform along the height, cropped to the middle rows.

    Args:
      kspace: complex, shape (..., height, width), with frequency 0 in the middle.
      size: number of rows to keep, at most the height.

    Returns:
      complex64 of shape (..., width, size): columns come first, so that each lies in one piece.
    """
    from scipy import fft

    height = kspace.shape[-2]
    columns = np.swapaxes(kspace, -1, -2)  # (..., width, height)
    rows = fft.ifft(fft.ifftshift(columns, axes=-1), axis=-1, norm="ortho")
    middle = fft.fftshift(rows, axes=-1)[..., center(height, size)]
    return np.ascontiguousarray(middle, np.complex64)


def image(columns: np.ndarray, kept: np.ndarray, size: int) -> np.ndarray:
    """The magnitude image of the columns that are kept, cropped to the middle.

    Args:
      columns: what ``half_transformed`` returns, complex64 of shape (width, height).
      kept: indices of the columns that count; the others count as zero.
      size: width of the image, at most the width of k-space.

    Returns:
      float32 of shape (height, size).
    """
    from scipy import fft

    width, height = columns.shape
    measured = np.zeros((width, height), np.complex64)
    measured[kept] = columns[kept]
    # Frequency 0 is not moved to the front: that turns the phases alone, and they are dropped.
    rotated = fft.ifft(measured, axis=0, norm="ortho", overwrite_x=True)
    middle = np.empty((height, size), np.float32)
    start = center(width, size).start - width // 2  # where the image starts in ``rotated``; < 0
    np.abs(rotated[start:].T, out=middle[:, :-start])
    np.abs(rotated[: size + start].T, out=middle[:, -start:])
    return middle


def center(length: int, size: int) -> slice:
    """The middle ``size`` of ``length`` elements."""
    start = (length - size) // 2
    return slice(start, start + size)


def random_columns(width: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of the columns that a scan four times as fast measures, in ascending order.

    It always measures ``int(0.08 width)`` columns in the middle, and each other one with the
    probability that makes a quarter of all columns on average.
    """
    num_middle = int(width * CENTER_FRACTION)
    probability = (width / ACCELERATION - num_middle) / (width - num_middle)
    is_kept = rng.random(width) < probability
    first = (width - num_middle + 1) // 2
    is_kept[first : first + num_middle] = True
    return np.flatnonzero(is_kept)


@functools.cache
def evaluation_columns(width: int) -> np.ndarray:
    """The columns that every slice of this width is evaluated with; not to be written to."""
    return random_columns(width, np.random.Generator(np.random.Philox(key=0)))


def normalized(
    picture: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.float32, np.float32]:
    """The input and the target, both by the input's mean and standard deviation, cut at 6.

    Args:
      picture: float32, shape (height, width); is overwritten.
      target: float32 of the same shape.

    Returns:
      input and target, float32, and the mean and standard deviation. The standard deviation of a
      picture of one value counts as 1.
    """
    mean = picture.mean()
    picture -= mean
    std = np.sqrt(np.mean(np.square(picture)))
    std = std if std > 0 else np.float32(1)
    picture /= std
    np.clip(picture, -CLIP, CLIP, out=picture)
    scaled = target - mean
    scaled /= std
    np.clip(scaled, -CLIP, CLIP, out=scaled)
    return picture, scaled, mean, std
