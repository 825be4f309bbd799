"""The U-Nets of fastMRI: one function in both frameworks, with the published sizes."""

import functools
import math

import jax
import numpy as np
import pytest
import torch
from flax import linen as jax_nn

from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.frameworks.counting import count_parameters, parameter_shapes
from finishline.frameworks.jax import roles as jax_roles
from finishline.frameworks.jax.layers import dropout as jax_dropout
from finishline.frameworks.jax.losses import compute_loss as jax_loss
from finishline.frameworks.pytorch import roles as torch_roles
from finishline.frameworks.pytorch.layers import channel_dropout
from finishline.frameworks.pytorch.losses import compute_loss as torch_loss
from finishline.spec import LossType, ParameterType
from finishline.workload import find_workload
from workloads.fastmri import model_jax, model_pytorch

# Parameters and tensors, from facts about AlgoPerf's implementation.
SIZES = {
    "fastmri": (7_756_097, 24),
    "fastmri_model_size": (7_692_929, 19),
    "fastmri_tanh": (7_756_097, 24),
    "fastmri_layernorm": (7_761_985, 60),
}
L1 = LossType.MEAN_ABSOLUTE_ERROR


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_published(name, framework):
    definition = find_workload(name)
    expected = SIZES[name]
    assert count_parameters(definition, framework) == expected[0]
    assert len(parameter_shapes(definition, framework)) == expected[1]


def small_model(name):
    """The small model of a workload, with one pooling more where it has fewer channels."""
    model = dict(find_workload(name).shrunk().model)
    return model | {"num_channels": 4, "num_pools": 3 if name == "fastmri_model_size" else 2}


@pytest.fixture(params=SIZES)
def config(request):
    return small_model(request.param)


def batch_of(shape, dtype):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(dtype) for name in ("inputs", "targets")}


def initial_params(config, batch, dtype):
    """flax parameters: kernels of the usual size, scales about 1, biases about 0."""
    model = model_jax.Model(**config)
    init = functools.partial(model.init, train=False, dropout_rate=0.0)
    shapes = jax.eval_shape(init, jax.random.key(0), batch)["params"]
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        deviation = 0.1 if leaf.ndim == 1 else 1 / math.sqrt(math.prod(leaf.shape[:-1]))
        values = deviation * rng.normal(size=leaf.shape) + (path[-1].key == "scale")
        return np.asarray(values, dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def jax_results(config, params, batch, train):
    model = model_jax.Model(**config)

    def mean_loss(params, batch):
        images = model.apply({"params": params}, batch, train=train, dropout_rate=0.0)
        loss = jax_loss(L1, batch["targets"], images)
        return loss["summed"] / loss["n_valid_examples"], images

    (loss, images), gradients = jax.jit(jax.value_and_grad(mean_loss, has_aux=True))(params, batch)
    named = flax_to_torch_state_dict(gradients, {})
    return {"images": np.asarray(images), "loss": np.asarray(loss), **named}


def torch_results(config, params, batch, train):
    model = model_pytorch.Model(**config).to(torch.from_numpy(batch["inputs"]).dtype).train(train)
    state = flax_to_torch_state_dict(params, {})
    model.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    tensors = {name: torch.tensor(array) for name, array in batch.items()}
    images = model(tensors, dropout_rate=0.0)
    loss = torch_loss(L1, tensors["targets"], images)
    mean = loss["summed"] / loss["n_valid_examples"]
    mean.backward()
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}
    return {"images": images.detach().numpy(), "loss": mean.detach().numpy(), **gradients}


@pytest.mark.parametrize(
    ("shape", "train", "dtype", "tolerance"),
    [
        ((2, 32, 32), True, "float32", 1e-4),
        ((2, 37, 42), True, "float64", 1e-10),  # pooling drops rows, and they are mirrored in
        ((2, 32, 32), False, "float64", 1e-10),
    ],
)
def test_both_frameworks_compute_the_same_function(config, shape, train, dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        batch = batch_of(shape, dtype)
        params = initial_params(config, batch, dtype)
        expected = jax_results(config, params, batch, train)
        actual = torch_results(config, params, batch, train)
    assert actual.keys() == expected.keys()
    assert actual["images"].shape == shape
    for name, value in expected.items():
        assert value.dtype == actual[name].dtype == dtype
        error = np.linalg.norm(actual[name] - value) / np.linalg.norm(value)
        assert error <= tolerance, (name, error)


def test_initial_weights_have_flaxs_distribution_in_both_frameworks():
    """Truncated normal of variance 1 / fan_in; that of transposed convolutions, too."""
    config = small_model("fastmri_layernorm") | {"num_channels": 24}
    batch = batch_of((1, 16, 16), "float32")
    model = model_jax.Model(**config)
    init = functools.partial(model.init, train=False, dropout_rate=0.0)
    ours = flax_to_torch_state_dict(jax.jit(init)(jax.random.key(0), batch)["params"], {})
    torch.manual_seed(0)
    module = model_pytorch.Model(**config)
    theirs = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    assert ours.keys() == theirs.keys()
    for name, a in ours.items():
        b = theirs[name]
        assert a.shape == b.shape
        if a.ndim < 4:
            np.testing.assert_array_equal(a, b, err_msg=name)  # scales and biases
            continue
        kernel = math.prod(a.shape[2:])
        fan_in = kernel * (a.shape[0] if "upsample" in name else a.shape[1])
        std, bound = math.sqrt(1 / fan_in), 2 * math.sqrt(1 / fan_in) / 0.8796
        for values in (a, b):
            assert abs(values.std() / std - 1) < 5 / math.sqrt(2 * values.size), name
            assert abs(values.mean()) < 5 * std / math.sqrt(values.size), name
            assert np.abs(values).max() <= bound * 1.001, name


def test_roles_are_declared():
    config = small_model("fastmri_layernorm")
    batch = batch_of((1, 16, 16), "float32")
    model = model_jax.Model(**config)
    params = initial_params(config, batch, "float32")
    roles = jax_roles.parameter_types(model, params, batch)
    filled = jax.tree.map(lambda p, role: np.full(p.shape, role.value), params, roles)
    named = flax_to_torch_state_dict(filled, {})
    flat = {name: array.flat[0] for name, array in named.items()}
    types = torch_roles.parameter_types(model_pytorch.Model(**config))
    assert {name: role.value for name, role in types.items()} == flat
    assert types["down_0.norm_0.weight"] is ParameterType.LAYER_NORM_SCALE
    assert types["down_0.norm_0.bias"] is ParameterType.LAYER_NORM_BIAS
    assert types["upsample_0.conv.weight"] is ParameterType.CONV_WEIGHT
    assert types["output.bias"] is ParameterType.BIAS
    assert len(types) == len(flat) == 3 * 5 * 2 + 2 + 2


def dropped_in_jax(x, rate, train):
    """With a traced rate."""

    class Site(jax_nn.Module):
        @jax_nn.compact
        def __call__(self, x, rate):
            return jax_dropout(self, x, rate, train=train, shared_axes=(1, 2))

    rngs = {"dropout": jax.random.key(5)}
    apply = jax.jit(lambda x, rate: Site().apply({}, x, rate, rngs=rngs))
    return np.asarray(apply(x, rate))


def dropped_in_pytorch(x, rate, train):
    tensor = torch.from_numpy(x).permute(0, 3, 1, 2)
    return channel_dropout(tensor, rate, train).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("drop", [dropped_in_jax, dropped_in_pytorch])
def test_dropout_is_of_whole_channels(drop):
    torch.manual_seed(0)
    x = np.random.default_rng(0).normal(size=(40, 3, 4, 50)).astype(np.float32)
    y = drop(x, 0.3, True)
    factor = (y / x).reshape(40, 12, 50)
    assert (np.ptp(factor, axis=1) < 1e-5).all()
    np.testing.assert_allclose(factor[factor != 0], 1 / 0.7, rtol=1e-5)
    assert abs((factor[:, 0] == 0).mean() - 0.3) < 5 * math.sqrt(0.21 / 2000)
    np.testing.assert_array_equal(drop(x, 1.0, True), 0)
    np.testing.assert_array_equal(drop(x, 0.3, False), x)


def test_dropout_acts_in_training_alone_and_in_both_frameworks():
    """AlgoPerf's U-Net in JAX ignores the rate."""
    config = small_model("fastmri")
    batch = jax.device_put(batch_of((2, 16, 16), "float32"))
    params = initial_params(config, batch, "float32")
    model = model_jax.Model(**config)
    module = model_pytorch.Model(**config)
    tensors = {name: torch.tensor(np.asarray(array)) for name, array in batch.items()}

    def in_jax(rate, train):
        rngs = {"dropout": jax.random.key(0)}
        return model.apply({"params": params}, batch, train=train, dropout_rate=rate, rngs=rngs)

    def in_pytorch(rate, train):
        return module.train(train)(tensors, dropout_rate=rate).detach().numpy()

    for function in (in_jax, in_pytorch):
        assert not np.allclose(function(0.5, True), function(0.0, True))
        np.testing.assert_array_equal(function(0.5, False), function(0.0, False))


@pytest.mark.parametrize("name", ["fastmri", "fastmri_layernorm"])
def test_torch_compile_takes_the_whole_model(name):
    model = model_pytorch.Model(**small_model(name))
    inputs = {"inputs": torch.randn(2, 17, 16)}
    expected = model(inputs, dropout_rate=0.0)
    torch.compiler.reset()  # each test has a cache of its own
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(inputs, dropout_rate=0.0), expected)
    assert compiled(inputs, dropout_rate=0.2).shape == expected.shape
