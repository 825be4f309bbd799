"""SSIM against scikit-image, and against its formula written out window by window."""

import jax
import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity as skimage_ssim

from finishline.frameworks.jax import metrics as jax_metrics
from finishline.frameworks.jax.ssim import structural_similarity as jax_ssim
from finishline.frameworks.pytorch import metrics as torch_metrics
from finishline.frameworks.pytorch.ssim import structural_similarity as torch_ssim
from finishline.spec import LossType

SHAPE = (23, 37)


def in_jax(images, references, ranges):
    return np.asarray(jax.jit(jax_ssim)(images, references, ranges))


def in_pytorch(images, references, ranges):
    return torch_ssim(*map(torch.from_numpy, (images, references, ranges))).numpy()


frameworks = pytest.mark.parametrize("ssim", [in_jax, in_pytorch])


def by_the_formula(x, y, data_range):
    """The mean over all windows of 7 x 7 pixels, in float64."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = []
    for i in range(x.shape[0] - 6):
        for j in range(x.shape[1] - 6):
            a, b = x[i : i + 7, j : j + 7].ravel(), y[i : i + 7, j : j + 7].ravel()
            covariance = np.cov(a, b)  # divides by 48
            luminance = (2 * a.mean() * b.mean() + c1) / (a.mean() ** 2 + b.mean() ** 2 + c1)
            structure = (2 * covariance[0, 1] + c2) / (covariance[0, 0] + covariance[1, 1] + c2)
            values.append(luminance * structure)
    return np.mean(values)


@pytest.fixture
def pairs():
    """Noisy images of several scales, as scanners give them, with their references and ranges."""
    rng = np.random.default_rng(0)
    references = rng.gamma(2.0, size=(5, *SHAPE))
    images = references + rng.normal(size=references.shape) * rng.uniform(0.1, 2, (5, 1, 1))
    scale = np.array([1e-5, 1e-3, 1.0, 40.0, 1e4]).reshape(5, 1, 1)
    images, references = images * scale, references * scale
    return tuple(
        a.astype(np.float32) for a in (images, references, references.max(axis=(1, 2)) * 1.3)
    )


@frameworks
def test_it_is_that_of_scikit_image(ssim, pairs):
    in_float64 = zip(*(array.astype(np.float64) for array in pairs), strict=True)
    expected = [skimage_ssim(y, x, data_range=r) for x, y, r in in_float64]
    np.testing.assert_allclose(ssim(*pairs), expected, atol=1e-5)
    assert max(expected) - min(expected) > 0.4


@frameworks
def test_it_is_its_formula(ssim, pairs):
    expected = [by_the_formula(*pair) for pair in zip(*pairs, strict=True)]
    np.testing.assert_allclose(ssim(*pairs), expected, atol=1e-6)


@frameworks
def test_squares_that_cancel_lose_little(ssim):
    """Faint structure on a bright ground: in float32, plain sums of squares lose most of it."""
    rng = np.random.default_rng(1)
    references = (1 + 0.003 * rng.normal(size=(1, *SHAPE))).astype(np.float32)
    images = references + (0.001 * rng.normal(size=(1, *SHAPE))).astype(np.float32)
    ranges = np.array([0.1], np.float32)
    expected = by_the_formula(images[0], references[0], ranges[0])
    np.testing.assert_allclose(ssim(images, references, ranges), expected, atol=1e-5)


@frameworks
def test_a_range_of_0_counts_as_1(ssim, pairs):
    images, references, ranges = pairs
    np.testing.assert_array_equal(
        ssim(images, references, 0 * ranges), ssim(images, references, 0 * ranges + 1)
    )


@frameworks
def test_an_image_is_like_itself(ssim, pairs):
    _, references, ranges = pairs
    np.testing.assert_allclose(ssim(references, references, ranges), 1, atol=1e-6)
    mean = references.mean(axis=(1, 2), keepdims=True)
    assert (ssim(2 * mean - references, references, ranges) < 0).all()


def test_the_metric_is_of_images_in_their_own_units_and_leaves_filling_out(pairs):
    images, references, ranges = pairs
    mean = references.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
    std = references.std(axis=(1, 2), dtype=np.float64).astype(np.float32)
    normalized = [(a - mean[:, None, None]) / std[:, None, None] for a in (images, references)]
    fields = {"mean": mean, "std": std, "volume_max": ranges, "targets": normalized[1]}
    blank = {name: np.concatenate([array, 0 * array[:2]]) for name, array in fields.items()}
    batch = blank | {"weights": np.repeat(np.float32([1, 0, 1, 0]), [1, 1, 3, 2])}
    logits = np.concatenate([normalized[0], 0 * images[:2]])
    expected = in_pytorch(*pairs)[[0, 2, 3, 4]].sum()
    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    loss_type = LossType.MEAN_ABSOLUTE_ERROR
    actual = torch_metrics.METRICS["ssim"](loss_type, tensors, torch.from_numpy(logits))
    np.testing.assert_allclose(actual, (expected, 4), rtol=1e-4)
    jitted = jax.jit(jax_metrics.METRICS["ssim"], static_argnums=0)
    np.testing.assert_allclose(jitted(loss_type, batch, logits), (expected, 4), rtol=1e-4)
