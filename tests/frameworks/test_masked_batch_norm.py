"""Batch norm of sequences over what is no padding: both frameworks against the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from finishline.frameworks.jax.layers import MaskedBatchNorm as JaxNorm
from finishline.frameworks.pytorch.layers import MaskedBatchNorm as TorchNorm

LENGTHS = np.array([5, 3, 0])
PADDINGS = (np.arange(5) >= LENGTHS[:, None]).astype(np.float32)


def batch():
    """Sequences whose padding is far off."""
    x = np.random.default_rng(0).normal(3, 2, (3, 5, 4)).astype(np.float32)
    return x + 1000 * PADDINGS[..., None]


def in_jax(x, paddings, *, train):
    """The output, and the running statistics after it."""
    norm = JaxNorm(momentum=0.9)
    variables = norm.init(jax.random.key(0), jnp.asarray(x), jnp.asarray(paddings), train=False)
    y, updated = norm.apply(
        variables, jnp.asarray(x), jnp.asarray(paddings), train=train, mutable=["batch_stats"]
    )
    stats = updated["batch_stats"]
    return np.asarray(y), np.asarray(stats["mean"]), np.asarray(stats["var"])


def in_torch(x, paddings, *, train):
    norm = TorchNorm(x.shape[-1], decay=0.9).train(train)
    y = norm(torch.tensor(x), torch.tensor(paddings))
    return y.detach().numpy(), norm.running_mean.numpy(), norm.running_var.numpy()


@pytest.mark.parametrize("function", [in_jax, in_torch])
def test_statistics_are_of_what_is_no_padding(function):
    y, mean, variance = function(batch(), PADDINGS, train=True)
    valid = batch()[PADDINGS == 0].astype(np.float64)
    expected = (valid - valid.mean(axis=0)) / np.sqrt(valid.var(axis=0) + 1e-3)
    np.testing.assert_allclose(y[PADDINGS == 0], expected, atol=1e-5)
    assert not y[PADDINGS == 1].any()
    np.testing.assert_allclose(mean, 0.1 * valid.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, 0.9 + 0.1 * valid.var(axis=0), rtol=1e-5)


@pytest.mark.parametrize("function", [in_jax, in_torch])
def test_evaluation_uses_the_running_statistics_and_keeps_them(function):
    y, mean, variance = function(batch(), PADDINGS, train=False)
    expected = batch() * (1 - PADDINGS)[..., None] / np.sqrt(1 + 1e-3)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    assert not mean.any()
    assert (variance == 1).all()


@pytest.mark.parametrize("function", [in_jax, in_torch])
def test_a_batch_of_padding_alone_gives_zeros(function):
    y, mean, _ = function(batch(), np.ones_like(PADDINGS), train=True)
    assert not y.any()
    assert not mean.any()


def test_running_statistics_can_be_left_as_they_are():
    norm = TorchNorm(4)
    norm.update_running_statistics = False
    y = norm(torch.tensor(batch()), torch.tensor(PADDINGS))
    assert abs(y.sum(dim=(0, 1))).max() < 1e-4  # the batch's statistics are used
    assert not norm.running_mean.any()
