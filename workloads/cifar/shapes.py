"""Made-up colour images of 32 x 32 pixels in ten classes, the shape of what they show.

Shapes have any place, size, angle and colour; backgrounds have a colour that changes over the image
and waves, and all pixels have noise. Colours tell nothing about the class, and mirror images are of
the same class.
"""

import numpy as np

from workloads.cifar.archive import IMAGE_SIZE, NUM_CLASSES, Images


def draw_shapes(count: int, *, seed: int) -> Images:
    """``count`` images; classes come in turn in random order, and always look the same."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(count) % NUM_CLASSES).astype(np.int32)
    inside = np.empty((count, IMAGE_SIZE, IMAGE_SIZE, 1), np.float32)
    u, v = _coordinates(generator, count)
    for label in range(NUM_CLASSES):
        members = labels == label
        inside[members, ..., 0] = _shape(label, u[members], v[members])
    contrast = generator.uniform(0.25, 0.7, (count, 1, 1, 1)).astype(np.float32)
    colour = abs(_unit_vectors(generator, count)) * contrast  # brighter than the background
    images = _backgrounds(generator, count) + colour * inside
    images += generator.normal(0, 0.04, images.shape).astype(np.float32)
    return Images((255 * images.clip(0, 1)).astype(np.uint8), labels)


def _coordinates(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in which each image's shape fills the unit disc: two of (count, 32, 32)."""
    y, x = (np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE] + 0.5) * (2 / IMAGE_SIZE) - 1
    centre_x, centre_y = generator.uniform(-0.25, 0.25, (2, count, 1, 1))
    radius = generator.uniform(0.55, 0.85, (count, 1, 1))
    angle = generator.uniform(-0.4, 0.4, (count, 1, 1))
    x, y = (x - centre_x) / radius, (y - centre_y) / radius
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def _shape(label: int, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Where a shape of class ``label`` is: bool, of the shape of ``u``."""
    r, phi = np.hypot(u, v), np.arctan2(v, u)
    square = np.maximum(abs(u), abs(v))
    triangle = np.maximum(-v, abs(u) * 0.866 + v * 0.5)
    shapes = {
        0: r < 0.9,  # disc
        1: (r < 1) & (r > 0.55),  # ring
        2: square < 0.8,
        3: (square < 0.85) & (square > 0.45),  # frame
        4: triangle < 0.5,
        5: (triangle < 0.55) & (triangle > 0.2),  # triangular frame
        6: (np.minimum(abs(u), abs(v)) < 0.25) & (square < 0.9),  # cross
        7: r < 0.6 + 0.35 * np.cos(5 * phi),  # star
        8: (r < 1) & (np.hypot(u - 0.5, v) > 0.8),  # crescent
        9: (abs(u) < 0.9) & (abs(abs(v) - 0.5) < 0.22),  # two bars
    }
    return shapes[label]


def _backgrounds(generator: np.random.Generator, count: int) -> np.ndarray:
    """A colour, a gradient and waves: float32, (count, 32, 32, 3)."""
    y, x = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE] / IMAGE_SIZE - 0.5
    slope_x, slope_y = generator.normal(0, 0.3, (2, count, 1, 1))
    frequency_x, frequency_y = generator.normal(0, 12, (2, count, 1, 1))
    phase = generator.uniform(0, 2 * np.pi, (count, 1, 1))
    waves = 0.05 * np.sin(frequency_x * x + frequency_y * y + phase)
    brightness = (slope_x * x + slope_y * y + waves)[..., None].astype(np.float32)
    base = generator.uniform(0.1, 0.6, (count, 1, 1, 3)).astype(np.float32)
    return base + brightness * _unit_vectors(generator, count)


def _unit_vectors(generator: np.random.Generator, count: int) -> np.ndarray:
    """Random directions in colour space: float32, (count, 1, 1, 3)."""
    vectors = generator.normal(size=(count, 1, 1, 3))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
