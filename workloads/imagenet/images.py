"""From the bytes of a JPEG to a crop of it in the size that the model sees, in Pillow.

Pillow releases Python's lock while it decodes and resizes, so threads decode in parallel.
"""

import io
import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

# 22 training images have EXIF data that Pillow finds damaged; their pixels are fine.
warnings.filterwarnings("ignore", message="Corrupt EXIF data", category=UserWarning)

EVALUATION_SHARE = 224 / 256  # of the short side

MIN_AREA, MAX_AREA = 0.08, 1.0
MIN_ASPECT, MAX_ASPECT = 3 / 4, 4 / 3
ATTEMPTS = 10

_MIN_DECODED = 2.0


class Crop(NamedTuple):
    """A rectangle in an image, in pixels."""

    left: float
    top: float
    width: float
    height: float


def centre_crop(width: int, height: int) -> Crop:
    """What evaluation looks at: a square in the centre, of 224/256 of the short side."""
    side = EVALUATION_SHARE * min(width, height)
    return Crop((width - side) / 2, (height - side) / 2, side, side)


def random_crop(width: int, height: int, rng: np.random.Generator) -> Crop:
    """What training looks at: a random part of the image (Szegedy et al., 2015, arXiv:1409.4842).

    The area is uniform in [0.08, 1] of the image's, the logarithm of the aspect ratio uniform in
    [log 3/4, log 4/3], the place uniform. If none of ten fits into the image, the centre crop.
    """
    low, high = math.log(MIN_ASPECT), math.log(MAX_ASPECT)
    for draws in rng.random((ATTEMPTS, 4)).tolist():
        area = (MIN_AREA + (MAX_AREA - MIN_AREA) * draws[0]) * width * height
        aspect = math.exp(low + (high - low) * draws[1])
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            return Crop(int(draws[2] * (width - w + 1)), int(draws[3] * (height - h + 1)), w, h)
    return centre_crop(width, height)


def decode(content: bytes, choose: Callable[[int, int], Crop], size: int) -> Image.Image:
    """Decodes an image and resizes a part of it: RGB, ``size`` x ``size``.

    Resizing is bilinear with antialiasing. A JPEG of which the part is at least four times as
    large as needed is decoded at 1/2, 1/4 or 1/8 of its size, which the cosine transform gives
    directly and nearly exactly, but never at less than twice the size that is needed.

    Args:
      content: JPEG or PNG, in colour, grey or CMYK.
      choose: gives the part, from width and height.
      size: side of the result, in pixels.

    Raises:
      OSError: ``content`` is damaged.
    """
    image: Image.Image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
    if isinstance(image, ImageFile.ImageFile):
        image.decodermaxblock = len(content)  # in one call instead of one every 64 KiB
    width, height = image.size
    crop = choose(width, height)
    scale = _decode_at_a_part(image, crop, size)
    if image.mode not in ("RGB", "L"):
        image = image.convert("RGB")
    box = (
        crop.left * scale,
        crop.top * scale,
        min(image.width, (crop.left + crop.width) * scale),
        min(image.height, (crop.top + crop.height) * scale),
    )
    resized = image.resize((size, size), Image.Resampling.BILINEAR, box)
    return resized.convert("RGB") if resized.mode == "L" else resized


def _decode_at_a_part(image: Image.Image, crop: Crop, size: int) -> float:
    """Makes Pillow decode at 1/2, 1/4 or 1/8 of the size if that suffices; the scale it will have.

    The last pixel of a row or column may lie half outside of the image, so that the scale is not
    the quotient of the sizes.
    """
    reduction = min(crop.width, crop.height) / (_MIN_DECODED * size)
    if reduction < 2:
        return 1.0
    width, height = image.size
    least = (math.ceil(width / reduction), math.ceil(height / reduction))
    drafted = image.draft(None, least)
    return drafted[1][2] / width if drafted else 1.0  # None: not a JPEG


def flip(image: Image.Image) -> Image.Image:
    """``image`` with left and right exchanged."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
