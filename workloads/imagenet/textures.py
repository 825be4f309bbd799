"""Made-up images in twelve classes: textures of stripes, discs, bricks and the like.

A class is a kind of pattern, and prefers some colours. Scale, direction, place, contrast, light,
noise and a weaker pattern of another class on top vary from image to image, and the colours of
neighbouring classes overlap. A mirror image of a pattern, or a part of it, is of the same class, so
that flips and crops leave the class as it is. Test images are noisier, as ImageNet-v2 is harder
than the validation images.
"""

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from finishline.data.keyed import example_generator
from workloads.imagenet.made_up import Labelled, write_archives

_SEED = 4
_TURN = 2 * np.pi
_SIDES = (40, 57)  # of images, in pixels
_PERIODS = (8.0, 15.0)  # of patterns, in pixels
_TILT = _TURN / 16  # the largest, to either side
_RIVAL = 0.2  # the largest weight of the other pattern
_HUE_SPREAD = 0.8  # standard deviation of a class's hue, in distances between classes
_NOISE = {"train": 0.1, "validation": 0.1, "test": 0.14}  # the largest; colours span 1


def write_originals(folder: Path, num_examples: Mapping[str, int], num_classes: int) -> None:
    """Writes archives in the form of ImageNet's.

    Args:
      folder: where to.
      num_examples: number of images by split.
      num_classes: number of classes, at most 12; images are spread evenly over them.
    """
    splits = {
        split: [labelled_jpeg(split, i, num_classes) for i in range(count)]
        for split, count in num_examples.items()
    }
    write_archives(folder, num_classes, **splits)


def labelled_jpeg(split: str, index: int, num_classes: int) -> Labelled:
    """The image ``index`` of ``split`` and its label, always the same."""
    rng = example_generator(_SEED, list(_NOISE).index(split), index)
    label = index % num_classes
    height, width = rng.integers(*_SIDES, size=2).tolist()
    image = draw(label, num_classes, height, width, rng, noise=_NOISE[split])
    return label, jpeg(image, quality=int(rng.integers(70, 95)))


def jpeg(image: np.ndarray, quality: int = 90) -> bytes:
    """The bytes of ``image`` as a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def draw(
    label: int,
    num_classes: int,
    height: int,
    width: int,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
) -> np.ndarray:
    """An image of class ``label``: uint8, (height, width, 3)."""
    rival = (label + int(rng.integers(1, num_classes))) % num_classes
    weight = rng.uniform(0, _RIVAL)
    pattern = (1 - weight) * _pattern(label, height, width, rng)
    pattern += weight * _pattern(rival, height, width, rng)
    hue = _TURN * (label + rng.normal(0, _HUE_SPREAD)) / num_classes
    colour = 0.5 + 0.2 * np.cos(hue - _TURN * np.arange(3) / 3)
    contrast = rng.uniform(0.15, 0.45, 3) * rng.choice([-1, 1])
    light = np.linspace(-1, 1, width) * rng.uniform(-0.15, 0.15)
    image = colour + pattern[..., None] * contrast + light[:, None]
    image += rng.standard_normal(image.shape, np.float32) * rng.uniform(0, noise)
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)


def _pattern(label: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A pattern with values from -1 to 1, at a random scale, direction and place."""
    angle, period = rng.uniform(-_TILT, _TILT), np.exp(rng.uniform(*np.log(_PERIODS)))
    y = (np.arange(height)[:, None] - height * rng.uniform(0.25, 0.75)) / period
    x = (np.arange(width)[None, :] - width * rng.uniform(0.25, 0.75)) / period
    u = np.cos(angle) * x + np.sin(angle) * y
    v = np.cos(angle) * y - np.sin(angle) * x
    return PATTERNS[label](u, v)


def _cell(u: np.ndarray) -> np.ndarray:
    """The distance from the middle of the cell of width 1 that ``u`` lies in, signed."""
    return u - np.rint(u)


def _inside(distance: np.ndarray, limit: float) -> np.ndarray:
    return np.where(distance < limit, 1.0, -1.0)


def _stripes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    del v
    return np.sin(_TURN * u)


def _checkers(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sign(np.sin(_TURN / 2 * u) * np.sin(_TURN / 2 * v))


def _discs(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _inside(np.hypot(_cell(u), _cell(v)), 0.33)


def _rings(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _inside(np.abs(np.hypot(_cell(u), _cell(v)) - 0.33), 0.11)


def _grid(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _inside(np.minimum(np.abs(_cell(u)), np.abs(_cell(v))), 0.12)


def _zigzag(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sin(_TURN * (u + 2 * np.abs(_cell(v / 2))))


def _waves(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sin(_TURN * (u + 0.3 * np.sin(_TURN / 2 * v)))


def _crosses(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = np.abs(_cell(u)), np.abs(_cell(v))
    return _inside(np.where(np.maximum(x, y) < 0.35, np.minimum(x, y), 1.0), 0.12)


def _squares(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _inside(np.maximum(np.abs(_cell(u)), np.abs(_cell(v))), 0.29)


def _bricks(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    row = np.rint(v)
    joint = np.abs(_cell(u / 2 + row / 2)) * 2
    return _inside(np.minimum(joint, 0.5 - np.abs(_cell(v))), 0.12)


def _rays(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sin(8 * np.arctan2(v, u))


def _circles(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sin(_TURN * np.hypot(u, v))


PATTERNS: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
    _stripes,
    _checkers,
    _discs,
    _rings,
    _grid,
    _zigzag,
    _waves,
    _crosses,
    _squares,
    _bricks,
    _rays,
    _circles,
)
