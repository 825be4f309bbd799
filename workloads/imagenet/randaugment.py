"""RandAugment (Cubuk et al., 2019, arXiv:1909.13719), with the settings of AlgoPerf.

Two of 16 operations, drawn uniformly with replacement, at full magnitude. What moves pixels takes
the nearest one and fills up with grey; its direction is random. Lengths in pixels are those for
images of 224 pixels and are scaled for others.

What maps values to values is one look-up in a table, with the same result as Pillow's functions,
which blend whole images for that or make their tables slowly, all under Python's lock.
"""

import functools
import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageOps

NUM_OPERATIONS = 2

_GREY = (128, 128, 128)
_DEGREES = 30.0
_SHEAR = 0.3
_TRANSLATION = 100 / 224  # of the side
_CUTOUT = 40 / 224  # half the square's side, of the image's side
_ENHANCEMENT = 1.9
_ADDEND = 110
_BITS = 4

Operation = Callable[[Image.Image, np.random.Generator], Image.Image]


def randaugment(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Applies two random operations to an RGB image."""
    for choice in rng.integers(len(OPERATIONS), size=NUM_OPERATIONS).tolist():
        image = OPERATIONS[choice](image, rng)
    return image


def autocontrast(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Stretches each channel to the range from 0 to 255."""
    del rng
    histogram = image.histogram()
    table: list[int] = []
    for start in range(0, len(histogram), 256):
        table += _stretched(histogram[start : start + 256])
    return image.point(table)


def equalize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Makes the histogram of each channel as flat as it gets."""
    del rng
    return ImageOps.equalize(image)


def invert(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """255 minus each value."""
    del rng
    return ImageChops.invert(image)


def rotate(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Rotates by 30 degrees about the centre."""
    return image.rotate(_signed(_DEGREES, rng), Image.Resampling.NEAREST, fillcolor=_GREY)


def posterize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Keeps the upper 4 bits of each value."""
    del rng
    return image.point(_POSTERIZED)


def solarize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Inverts values from 256 on at full magnitude, of which there are none."""
    del rng
    return image


def solarize_add(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Adds 110 to values below 128."""
    del rng
    return image.point(_DARKER_HALF_LIGHTENED)


def color(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Moves colours away from grey by the factor 1.9."""
    del rng
    return ImageEnhance.Color(image).enhance(_ENHANCEMENT)


def contrast(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Moves values away from the image's mean grey by the factor 1.9."""
    del rng
    histogram = image.convert("L").histogram()
    total = sum(value * count for value, count in enumerate(histogram))
    mean = int(total / (image.width * image.height) + 0.5)
    return image.point(_enhanced(mean) * 3)


def brightness(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Multiplies values by 1.9."""
    del rng
    return image.point(_BRIGHTENED)


def sharpness(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Moves values away from a smoothed image by the factor 1.9."""
    del rng
    return ImageEnhance.Sharpness(image).enhance(_ENHANCEMENT)


def shear_x(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Shifts each row by 0.3 times its number, from the top."""
    return _affine(image, 1, _signed(_SHEAR, rng), 0, 0, 1, 0)


def shear_y(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Shifts each column by 0.3 times its number, from the left."""
    return _affine(image, 1, 0, 0, _signed(_SHEAR, rng), 1, 0)


def translate_x(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Shifts the image sideways by 100 pixels of 224."""
    return _affine(image, 1, 0, _signed(_TRANSLATION * image.width, rng), 0, 1, 0)


def translate_y(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Shifts the image up or down by 100 pixels of 224."""
    return _affine(image, 1, 0, 0, 0, 1, _signed(_TRANSLATION * image.height, rng))


def cutout(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Covers a square of 80 pixels of 224, whose centre is uniform in the image."""
    half = max(1, round(_CUTOUT * image.width))
    x, y = (int(draw * image.width) for draw in rng.random(2).tolist())
    image = image.copy()
    image.paste(_GREY, (max(0, x - half), max(0, y - half), x + half, y + half))
    return image


OPERATIONS: tuple[Operation, ...] = (
    autocontrast,
    equalize,
    invert,
    rotate,
    posterize,
    solarize,
    solarize_add,
    color,
    contrast,
    brightness,
    sharpness,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
    cutout,
)


@functools.cache
def _enhanced(base: int) -> list[int]:
    """A table that moves values away from ``base``, with the rounding of Pillow's ``blend``."""
    values = np.arange(256, dtype=np.float32)
    moved = np.float32(base) + np.float32(_ENHANCEMENT) * (values - np.float32(base))
    return moved.clip(0, 255).astype(np.uint8).tolist()


_BRIGHTENED = _enhanced(0) * 3
_POSTERIZED = [value & (-1 << (8 - _BITS)) for value in range(256)] * 3
_DARKER_HALF_LIGHTENED = [v + _ADDEND if v < 128 else v for v in range(256)] * 3


def _stretched(histogram: list[int]) -> list[int]:
    """A table that stretches the values that occur to [0, 255], rounded as Pillow does."""
    low = next(value for value in range(256) if histogram[value])
    high = next(value for value in reversed(range(256)) if histogram[value])
    if low == high:
        return list(range(256))
    scale = 255.0 / (high - low)
    inside = [int(value * scale - low * scale) for value in range(low, high + 1)]
    return [0] * low + inside + [255] * (255 - high)


def _signed(magnitude: float, rng: np.random.Generator) -> float:
    return math.copysign(magnitude, rng.random() - 0.5)


def _affine(image: Image.Image, *coefficients: float) -> Image.Image:
    """The result at (x, y) is the image at (a x + b y + c, d x + e y + f)."""
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        coefficients,
        Image.Resampling.NEAREST,
        fillcolor=_GREY,
    )
