"""The bidirectional LSTMs: each other's twins, and PyTorch's own on sequences without padding."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from finishline.frameworks.convert import convert_snapshot, flax_to_torch_state_dict
from finishline.frameworks.jax import lstm as jax_lstm
from finishline.frameworks.pytorch import lstm as pytorch_lstm

FEATURES, UNITS, LENGTH = 5, 3, 7
LENGTHS = np.array([7, 4, 1, 0])
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}


def example(dtype):
    """Inputs whose padding is no zeros, and paddings."""
    x = np.random.default_rng(0).normal(size=(len(LENGTHS), LENGTH, FEATURES)).astype(dtype)
    return x, (np.arange(LENGTH) >= LENGTHS[:, None]).astype(dtype)


def made_up_parameters(dtype):
    generator = np.random.default_rng(1)
    shapes = {"kernel_ih": (FEATURES, 4 * UNITS), "kernel_hh": (UNITS, 4 * UNITS)}
    shapes["bias_ih"] = (4 * UNITS,)
    return {
        f"{name}{direction}": generator.normal(size=shape).astype(dtype)
        for direction in jax_lstm.DIRECTIONS
        for name, shape in shapes.items()
    }


def torch_layer(params, dtype):
    layer = pytorch_lstm.BidirectionalLSTM(FEATURES, UNITS).to(getattr(torch, dtype))
    state = flax_to_torch_state_dict(params, {})
    layer.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    return layer


def torch_results(layer, x, paddings, run=None):
    x = torch.tensor(x, requires_grad=True)
    y = (layer if run is None else run)(x, torch.tensor(paddings))
    y.square().sum().backward()
    gradients = {name: p.grad.numpy() for name, p in layer.named_parameters()}
    return {"y": y.detach().numpy(), "x": x.grad.numpy(), **gradients}


def assert_close(actual, expected, tolerance):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(1.0, np.abs(value).max())
        np.testing.assert_allclose(actual[name], value, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_frameworks_compute_the_same_states_and_gradients(dtype):
    x, paddings = example(dtype)
    params = made_up_parameters(dtype)
    layer = jax_lstm.BidirectionalLSTM(UNITS)
    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        masks = jnp.asarray(paddings)
        y, gradient = jax.vjp(
            lambda p, x: layer.apply({"params": p}, x, masks), params, jnp.asarray(x)
        )
        d_params, d_x = gradient(2 * y)
        expected = {"y": y, "x": d_x, **flax_to_torch_state_dict(d_params, {})}
        expected = {name: np.asarray(array) for name, array in expected.items()}
    actual = torch_results(torch_layer(params, dtype), x, paddings)
    assert_close(actual, expected, TOLERANCE[dtype])
    assert actual["y"].dtype == expected["y"].dtype == dtype


def test_padding_does_not_matter_and_the_recurrence_is_the_librarys():
    x, paddings = example("float64")
    layer = torch_layer(made_up_parameters("float64"), "float64")
    reference = nn.LSTM(FEATURES, UNITS, bidirectional=True, batch_first=True).double()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            base, reverse = name.removesuffix("_reverse"), name.endswith("_reverse")
            getattr(reference, f"{base}_l0{'_reverse' * reverse}").copy_(parameter)
        y = layer(torch.tensor(x), torch.tensor(paddings))
        for row, length in enumerate(LENGTHS):
            assert not y[row, length:].any()
            if length:
                alone, _ = reference(torch.tensor(x[row : row + 1, :length]))
                torch.testing.assert_close(y[row, :length], alone[0], atol=1e-12, rtol=0)


def test_the_second_bias_has_neither_effect_nor_gradient():
    x, paddings = example("float64")
    layer = torch_layer(made_up_parameters("float64"), "float64")
    expected = torch_results(layer, x, paddings)
    with torch.no_grad():
        layer.bias_hh.fill_(3.0)
        layer.bias_hh_reverse.fill_(-3.0)
    layer.zero_grad()
    actual = torch_results(layer, x, paddings)
    assert_close(actual, expected, 0)
    assert not actual["bias_hh"].any()
    assert not actual["bias_hh_reverse"].any()
    assert actual["bias_ih"].all()


def test_weights_go_from_one_framework_to_the_other_and_back():
    params = made_up_parameters("float32")
    names = torch_layer(params, "float32").state_dict().keys()
    snapshot = {f"params/lstm/{name}": array for name, array in params.items()}
    there = convert_snapshot(snapshot, "pytorch", [f"lstm.{name}" for name in names])
    assert len(there) == len(snapshot) + 2
    back = convert_snapshot(there, "jax", snapshot)
    assert back.keys() == snapshot.keys()
    for name, array in snapshot.items():
        np.testing.assert_array_equal(back[name], array)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method")
def test_compiled_it_is_one_operation_with_the_same_gradients():
    x, paddings = example("float32")
    params = made_up_parameters("float32")
    expected = torch_results(torch_layer(params, "float32"), x, paddings)
    torch.compiler.reset()
    layer = torch_layer(params, "float32")
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager_decomp_partition")
    assert_close(torch_results(layer, x, paddings, compiled), expected, 1e-6)


def test_kernels_start_lecun_normal_and_orthogonal_in_both_frameworks():
    torch.manual_seed(0)
    units, features = 40, 50
    variables = jax_lstm.BidirectionalLSTM(units).init(
        jax.random.key(0), jnp.zeros((1, 2, features)), jnp.zeros((1, 2))
    )
    in_jax = flax_to_torch_state_dict(variables["params"], {})
    in_torch = {
        name: array.numpy()
        for name, array in pytorch_lstm.BidirectionalLSTM(features, units).state_dict().items()
    }
    assert in_jax.keys() == in_torch.keys()
    for state in (in_jax, in_torch):
        for direction in jax_lstm.DIRECTIONS:
            weight = state[f"weight_ih{direction}"]
            assert weight.std() == pytest.approx(features**-0.5, rel=0.03)
            assert np.abs(weight).max() <= 2 * features**-0.5 / 0.8796
            for gate in state[f"weight_hh{direction}"].reshape(4, units, units):
                np.testing.assert_allclose(gate @ gate.T, np.eye(units), atol=1e-5)
            assert not state[f"bias_ih{direction}"].any()
