"""Each operation of RandAugment against NumPy."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from workloads.imagenet import randaugment as ra

SIZES = [32, 224]
GREY = 128


class Draws(np.random.Generator):
    """A generator of which it is known what ``random`` returns."""

    def __init__(self, *values):
        super().__init__(np.random.PCG64(0))
        self.values = values

    def random(self, size=None):
        return self.values[0] if size is None else np.array(self.values[:size])


PLUS, MINUS = Draws(0.9), Draws(0.1)


@pytest.fixture(params=SIZES)
def pixels(request):
    """An image with values from 20 to 230, uneven, different in each channel."""
    rng = np.random.default_rng(request.param)
    image = 20 + 210 * rng.beta([0.5, 1, 2], [2, 1, 0.7], (request.param, request.param, 3))
    return image.astype(np.uint8)


def apply(operation, pixels, rng=PLUS):
    before = pixels.copy()
    result = operation(Image.fromarray(pixels), rng)
    np.testing.assert_array_equal(pixels, before)
    assert result.mode == "RGB"
    return np.asarray(result).astype(int)


def clipped(values):
    return np.clip(values, 0, 255)


def luma(pixels):
    """ITU-R 601-2, as Pillow rounds it."""
    return np.rint(pixels @ np.array([0.299, 0.587, 0.114]))


@pytest.mark.parametrize(
    ("operation", "pillow"),
    [
        (ra.autocontrast, ImageOps.autocontrast),
        (ra.invert, ImageOps.invert),
        (ra.posterize, lambda image: ImageOps.posterize(image, 4)),
        (ra.contrast, lambda image: ImageEnhance.Contrast(image).enhance(1.9)),
        (ra.brightness, lambda image: ImageEnhance.Brightness(image).enhance(1.9)),
    ],
)
def test_tables_give_what_the_functions_of_pillow_give(operation, pillow):
    rng = np.random.default_rng(0)
    for low, high in [
        (0, 255),
        (0, 200),
        (3, 4),
        (7, 7),
        *np.sort(rng.integers(256, size=(40, 2))),
    ]:
        image = Image.fromarray(rng.integers(low, high + 1, (16, 16, 3)).astype(np.uint8))
        np.testing.assert_array_equal(operation(image, PLUS), pillow(image))


def test_invert(pixels):
    np.testing.assert_array_equal(apply(ra.invert, pixels), 255 - pixels.astype(int))


def test_posterize_keeps_four_bits(pixels):
    np.testing.assert_array_equal(apply(ra.posterize, pixels), pixels // 16 * 16)


def test_solarize_has_no_value_to_invert(pixels):
    np.testing.assert_array_equal(apply(ra.solarize, pixels), pixels)


def test_solarize_add_lightens_the_darker_half(pixels):
    values = pixels.astype(int)
    np.testing.assert_array_equal(
        apply(ra.solarize_add, pixels), np.where(values < 128, values + 110, values)
    )


def test_autocontrast_stretches_each_channel(pixels):
    low, high = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    expected = (pixels - low) * (255 / (high - low))
    np.testing.assert_allclose(apply(ra.autocontrast, pixels), expected, atol=1)
    flat = np.full((8, 8, 3), 77, np.uint8)
    np.testing.assert_array_equal(apply(ra.autocontrast, flat), flat)


def test_equalize_flattens_the_histogram(pixels):
    actual = apply(ra.equalize, pixels)
    for channel in range(3):
        values = pixels[..., channel].ravel()
        below = (values[:, None] > np.arange(256)).sum(axis=0)  # how many are above each level
        rank = (len(values) - below - np.bincount(values, minlength=256)) / len(values)
        new = actual[..., channel].ravel()
        # Values become their share of the pixels, up to one level's and integer steps.
        tolerance = 4 / 256 + np.bincount(values).max() / len(values) + 256 / len(values)
        assert np.abs(new / 255 - rank[values]).max() < tolerance
        assert (np.diff(new[np.argsort(values, kind="stable")]) >= 0).all()


def test_color(pixels):
    grey = luma(pixels)[..., None]
    expected = clipped(grey + 1.9 * (pixels - grey))
    np.testing.assert_allclose(apply(ra.color, pixels), expected, atol=2)


def test_contrast(pixels):
    grey = luma(pixels).mean()
    expected = clipped(grey + 1.9 * (pixels - grey))
    np.testing.assert_allclose(apply(ra.contrast, pixels), expected, atol=2)


def test_brightness(pixels):
    np.testing.assert_allclose(apply(ra.brightness, pixels), clipped(1.9 * pixels), atol=1)


def test_sharpness(pixels):
    kernel = np.ones((3, 3))
    kernel[1, 1] = 5
    windows = np.lib.stride_tricks.sliding_window_view(pixels.astype(float), (3, 3), axis=(0, 1))
    smooth = (windows * kernel).sum(axis=(-2, -1)) / 13
    inner = pixels[1:-1, 1:-1]
    expected = clipped(smooth + 1.9 * (inner - smooth))
    actual = apply(ra.sharpness, pixels)
    np.testing.assert_allclose(actual[1:-1, 1:-1], expected, atol=2)
    np.testing.assert_array_equal(actual[0], pixels[0])  # the border has no neighbours


def moved(pixels, matrix, offset=(0.0, 0.0)):
    """The pixel nearest to ``matrix @ (x, y) + offset``; x and y are centres of pixels."""
    side = len(pixels)
    y, x = np.mgrid[:side, :side] + 0.5
    source_x = np.floor(matrix[0][0] * x + matrix[0][1] * y + offset[0]).astype(int)
    source_y = np.floor(matrix[1][0] * x + matrix[1][1] * y + offset[1]).astype(int)
    inside = (source_x >= 0) & (source_x < side) & (source_y >= 0) & (source_y < side)
    result = np.full_like(pixels, GREY)
    result[inside] = pixels[source_y[inside], source_x[inside]]
    return result


def assert_nearly_all_equal(actual, expected):
    """A centre that falls on the border between two pixels may be rounded to either."""
    assert (actual != expected).any(axis=2).mean() < 0.01


@pytest.mark.parametrize(("rng", "sign"), [(PLUS, 1), (MINUS, -1)])
def test_shear(pixels, rng, sign):
    x = moved(pixels, [[1, sign * 0.3], [0, 1]])
    y = moved(pixels, [[1, 0], [sign * 0.3, 1]])
    assert_nearly_all_equal(apply(ra.shear_x, pixels, rng), x)
    assert_nearly_all_equal(apply(ra.shear_y, pixels, rng), y)
    assert (x == GREY).all(axis=2).mean() > 0.1


@pytest.mark.parametrize(("rng", "sign"), [(PLUS, 1), (MINUS, -1)])
def test_translate_by_100_pixels_of_224(pixels, rng, sign):
    distance = sign * 100 * len(pixels) / 224
    identity = [[1, 0], [0, 1]]
    assert_nearly_all_equal(
        apply(ra.translate_x, pixels, rng), moved(pixels, identity, (distance, 0))
    )
    assert_nearly_all_equal(
        apply(ra.translate_y, pixels, rng), moved(pixels, identity, (0, distance))
    )
    if len(pixels) == 224:
        actual = apply(ra.translate_x, pixels, rng)
        assert (actual == GREY).all(axis=2).sum() == 100 * 224


@pytest.mark.parametrize(("rng", "sign"), [(PLUS, 1), (MINUS, -1)])
def test_rotate_by_30_degrees_about_the_centre(pixels, rng, sign):
    cos, sin = np.cos(np.pi / 6), sign * np.sin(np.pi / 6)
    matrix = np.array([[cos, -sin], [sin, cos]])
    centre = np.full(2, len(pixels) / 2)
    expected = moved(pixels, matrix, centre - matrix @ centre)
    assert_nearly_all_equal(apply(ra.rotate, pixels, rng), expected)


@pytest.mark.parametrize("place", [(0.5, 0.25), (0.0, 0.99)])
def test_cutout_covers_a_square(pixels, place):
    side = len(pixels)
    half = {32: 6, 224: 40}[side]
    x, y = (int(share * side) for share in place)
    expected = pixels.copy()
    expected[max(0, y - half) : y + half, max(0, x - half) : x + half] = GREY
    np.testing.assert_array_equal(apply(ra.cutout, pixels, Draws(*place)), expected)


def test_two_of_sixteen_are_drawn_uniformly(monkeypatch):
    assert len({operation.__name__ for operation in ra.OPERATIONS}) == 16
    drawn = []
    counting = tuple(
        lambda image, rng, number=number: drawn.append(number) or image for number in range(16)
    )
    monkeypatch.setattr(ra, "OPERATIONS", counting)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        ra.randaugment(Image.new("RGB", (1, 1)), rng)
    assert len(drawn) == 4000
    assert stats.chisquare(np.bincount(drawn, minlength=16)).pvalue > 1e-3
    pairs = np.array(drawn).reshape(-1, 2)
    assert 0.03 < (pairs[:, 0] == pairs[:, 1]).mean() < 0.1  # with replacement


@pytest.mark.parametrize("operation", [ra.rotate, ra.shear_x, ra.translate_y])
def test_both_directions_are_equally_likely(operation):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    rng = np.random.default_rng(1)
    results = [operation(image, rng).tobytes() for _ in range(400)]
    assert len(set(results)) == 2
    assert 0.4 < results.count(results[0]) / 400 < 0.6
