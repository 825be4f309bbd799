"""Layers, initialisers and the converter, each against flax or against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen as nn

from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.frameworks.jax import layers as jax_layers
from finishline.frameworks.pytorch.init import lecun_normal_
from finishline.frameworks.pytorch.layers import BatchNorm2d, dropout


class Dropout(nn.Module):
    @nn.compact
    def __call__(self, x, rate, train=True):
        return jax_layers.dropout(self, x, rate, train=train)


@jax.jit
def apply_jax_dropout(x, rate):
    return Dropout().apply({}, x, rate, rngs={"dropout": jax.random.key(0)})


def apply_torch_dropout(x, rate):
    torch.manual_seed(0)
    return dropout(torch.tensor(x), rate, training=True).numpy()


@pytest.mark.parametrize("function", [apply_jax_dropout, apply_torch_dropout])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_drops_and_rescales(function, rate):
    y = np.asarray(function(np.ones(100_000, np.float32), rate))
    assert (y == 0).mean() == pytest.approx(rate, abs=0.01)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - rate) if rate < 1 else 0, rtol=1e-6)


def test_dropout_draws_no_random_bits_at_rate_zero_or_in_evaluation():
    x = np.ones(5, np.float32)
    for rate, train in [(0, True), (0.0, True), (0.5, False)]:
        y = Dropout().apply({}, jnp.asarray(x), rate, train)  # no rng given
        np.testing.assert_array_equal(y, x)
        before = torch.get_rng_state()
        assert torch.equal(dropout(torch.tensor(x), rate, training=train), torch.tensor(x))
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_gradients_of_dropout_are_finite(rate):
    gradient = jax.grad(lambda x: apply_jax_dropout(x, rate).sum())(jnp.arange(8.0))
    np.testing.assert_allclose(gradient, apply_jax_dropout(jnp.ones(8), rate))


def batches():
    generator = np.random.default_rng(0)
    shape = (6, 4, 5, 3)  # batch, height, width, channels
    return [3 + 2 * generator.normal(size=shape).astype(np.float32) for _ in range(4)]


def test_batch_norm_is_that_of_flax():
    ours = BatchNorm2d(3)
    theirs = nn.BatchNorm(momentum=0.9, epsilon=1e-5, use_fast_variance=False)
    variables = theirs.init(jax.random.key(0), batches()[0], use_running_average=True)
    for x in batches():
        expected, updated = theirs.apply(
            variables, x, use_running_average=False, mutable=["batch_stats"]
        )
        variables = variables | updated
        actual = ours(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        np.testing.assert_allclose(actual.detach(), expected, atol=2e-6)
    stats = variables["batch_stats"]
    np.testing.assert_allclose(ours.running_mean, stats["mean"], rtol=1e-6)
    np.testing.assert_allclose(ours.running_var, stats["var"], rtol=1e-6)
    x = batches()[0]
    expected = theirs.apply(variables, x, use_running_average=True)
    actual = ours.eval()(torch.tensor(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(actual.detach(), expected, atol=2e-6)


def test_batch_norm_can_leave_its_running_statistics():
    layer = BatchNorm2d(3)
    layer.update_running_statistics = False
    x = torch.tensor(batches()[0]).permute(0, 3, 1, 2)
    assert abs(layer(x).mean()) < 1e-5  # the batch's statistics are used
    assert torch.equal(layer.running_mean, torch.zeros(3))
    assert torch.equal(layer.running_var, torch.ones(3))


@pytest.mark.parametrize(
    ("flax_layer", "torch_layer", "shape"),
    [
        (nn.Dense(50), torch.nn.Linear(40, 50), (1, 40)),
        (nn.Conv(16, (5, 3)), torch.nn.Conv2d(8, 16, (5, 3), padding="same"), (1, 9, 9, 8)),
        (
            nn.Conv(16, (3,), feature_group_count=4),
            torch.nn.Conv1d(8, 16, 3, groups=4, padding="same"),
            (1, 9, 8),
        ),
    ],
)
def test_converted_layers_compute_the_same_and_start_alike(flax_layer, torch_layer, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    params = flax_layer.init(jax.random.key(0), x)["params"]
    state = flax_to_torch_state_dict(params, {})
    lecun_normal_(torch_layer)
    initial = torch_layer.weight.detach().numpy().copy()
    assert initial.std() == pytest.approx(state["weight"].std(), rel=0.15)
    assert np.abs(initial).max() == pytest.approx(np.abs(state["weight"]).max(), rel=0.15)
    assert not torch_layer.bias.any()
    torch_layer.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    channels_first = torch.tensor(np.moveaxis(x, -1, 1)) if x.ndim > 2 else torch.tensor(x)
    actual = torch_layer(channels_first).detach().numpy()
    expected = np.asarray(flax_layer.apply({"params": params}, x))
    np.testing.assert_allclose(
        np.moveaxis(actual, 1, -1) if x.ndim > 2 else actual, expected, atol=1e-5
    )


def test_lecun_normal_has_the_variance_and_the_cut_of_its_definition():
    torch.manual_seed(0)
    layer = torch.nn.Linear(400, 500)
    lecun_normal_(layer)
    assert layer.weight.std().item() == pytest.approx(1 / 20, rel=0.01)
    assert layer.weight.abs().max().item() <= 2 / 20 / 0.8796
    assert layer.weight.abs().max().item() > 1.99 / 20 / 0.8796


def test_lecun_normal_leaves_other_layers_alone():
    layer = BatchNorm2d(3)
    with torch.no_grad():
        layer.weight.fill_(2.0)
    lecun_normal_(layer)
    assert torch.equal(layer.weight.detach(), torch.full((3,), 2.0))


def test_names_and_scalars_are_converted():
    params = {
        "a": {"norm_0": {"scale": np.ones(3), "bias": np.zeros(3)}},
        "e": {"embedding": np.zeros((5, 2))},
        "theta": np.float32(3),
    }
    state = flax_to_torch_state_dict(params, {"a": {"norm_0": {"mean": np.ones(3), "var": 1}}})
    assert {name: array.shape for name, array in state.items()} == {
        "a.norm_0.weight": (3,),
        "a.norm_0.bias": (3,),
        "a.norm_0.running_mean": (3,),
        "a.norm_0.running_var": (),
        "e.weight": (5, 2),
        "theta": (),
    }
