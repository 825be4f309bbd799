"""Multi-head attention of both frameworks against the formula in NumPy, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen as nn

from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.frameworks.jax import attention as jax_attention
from finishline.frameworks.jax import roles as jax_roles
from finishline.frameworks.pytorch import attention as torch_attention
from finishline.frameworks.pytorch import roles as torch_roles
from finishline.spec import ParameterType

BATCH, QUERIES, KEYS, WIDTH, HEADS = 3, 5, 7, 12, 4
LAYERS = ("query", "key", "value", "out")


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def inputs():
    generator = np.random.default_rng(0)
    return generator.normal(size=(BATCH, QUERIES, WIDTH)), generator.normal(
        size=(BATCH, KEYS, WIDTH)
    )


def make_params(use_bias=True):
    generator = np.random.default_rng(1)
    params = {}
    for name in LAYERS:
        params[name] = {"kernel": generator.normal(size=(WIDTH, WIDTH))}
        if use_bias:
            params[name]["bias"] = generator.normal(size=WIDTH)
    return params


def masks():
    generator = np.random.default_rng(2)
    some = generator.random((BATCH, 1, QUERIES, KEYS)) < 0.6
    some[1, 0, 2] = False  # a query that may attend to nothing
    return {
        "none": None,
        "one for all heads": some,
        "one for each head": generator.random((BATCH, HEADS, QUERIES, KEYS)) < 0.6,
        "keys only": np.arange(KEYS) < np.array([7, 3, 0])[:, None, None, None],
    }


def numpy_attention(params, inputs_q, inputs_kv, mask=None, probabilities_factor=1.0):
    """Vaswani et al., 2017, section 3.2, one head at a time."""

    def project(name, x):
        return x @ params[name]["kernel"] + params[name].get("bias", 0.0)

    q, k, v = project("query", inputs_q), project("key", inputs_kv), project("value", inputs_kv)
    allowed = np.broadcast_to(True if mask is None else mask, (BATCH, HEADS, QUERIES, KEYS))
    heads = []
    for head in range(HEADS):
        part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
        scores = q[..., part] @ k[..., part].swapaxes(1, 2) / np.sqrt(WIDTH // HEADS)
        weights = np.exp(scores - scores.max()) * allowed[:, head]
        probabilities = weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-300)
        heads.append(probabilities * probabilities_factor @ v[..., part])
    return project("out", np.concatenate(heads, axis=-1))


def torch_layer(params, **options):
    layer = torch_attention.MultiHeadAttention(WIDTH, HEADS, **options).double()
    state = flax_to_torch_state_dict(params, {})
    layer.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    return layer


def jax_apply(params, *inputs, rngs=None, use_bias=True, mask=None, **options):
    layer = jax_attention.MultiHeadAttention(WIDTH, HEADS, use_bias=use_bias)
    mask = None if mask is None else jnp.asarray(mask)
    arrays = map(jnp.asarray, inputs)
    return layer.apply({"params": params}, *arrays, rngs=rngs, mask=mask, **options)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("mask", masks().values(), ids=list(masks()))
def test_both_are_the_formula(inputs, mask, use_bias):
    params = make_params(use_bias)
    expected = numpy_attention(params, *inputs, mask)
    actual = jax_apply(params, *inputs, use_bias=use_bias, mask=mask)
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)
    layer = torch_layer(params, use_bias=use_bias)
    tensor_mask = None if mask is None else torch.tensor(mask)
    actual = layer(*map(torch.tensor, inputs), mask=tensor_mask).detach()
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mask", masks().values(), ids=list(masks()))
def test_gradients_agree_and_are_finite(inputs, mask):
    params = make_params()
    cotangent = np.random.default_rng(3).normal(size=(BATCH, QUERIES, WIDTH))

    def weighted(params, inputs):
        return (jax_apply(params, *inputs, mask=mask) * cotangent).sum()

    by_params, by_inputs = jax.grad(weighted, argnums=(0, 1))(params, inputs)
    layer = torch_layer(params)
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    output = layer(*tensors, mask=None if mask is None else torch.tensor(mask))
    (output * torch.tensor(cotangent)).sum().backward()
    for name, expected in flax_to_torch_state_dict(by_params, {}).items():
        actual = layer.get_parameter(name).grad.numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11, err_msg=name)
    for tensor, expected in zip(tensors, by_inputs, strict=True):
        np.testing.assert_allclose(tensor.grad, expected, rtol=1e-9, atol=1e-11)


def test_queries_may_be_scaled(inputs):
    params = make_params()
    scaled = params | {"query": jax.tree.map(lambda x: 4.0 * x, params["query"])}
    expected = numpy_attention(scaled, *inputs)
    layer = jax_attention.MultiHeadAttention(WIDTH, HEADS, query_scale=4.0)
    actual = layer.apply({"params": params}, *map(jnp.asarray, inputs))
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)
    actual = torch_layer(params, query_scale=4.0)(*map(torch.tensor, inputs)).detach()
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)


def test_self_attention_is_attention_to_oneself(inputs):
    params, (x, _) = make_params(), inputs
    np.testing.assert_array_equal(jax_apply(params, x), jax_apply(params, x, x))
    layer, tensor = torch_layer(params), torch.tensor(x)
    assert torch.equal(layer(tensor), layer(tensor, tensor))


def drop_jax(params, inputs, rate, train=True, mask=None):
    apply = jax.jit(functools.partial(jax_apply, params, train=train, mask=mask))  # traced rate
    return apply(*inputs, dropout_rate=rate, rngs={"dropout": jax.random.key(0)})


def drop_torch(params, inputs, rate, train=True, mask=None):
    torch.manual_seed(0)
    mask = None if mask is None else torch.tensor(mask)
    layer = torch_layer(params).train(train)
    return layer(*map(torch.tensor, inputs), dropout_rate=rate, mask=mask).detach().numpy()


@pytest.mark.parametrize("function", [drop_jax, drop_torch])
def test_dropout_is_of_the_probabilities(function, inputs):
    params = make_params()
    expected = numpy_attention(params, *inputs)
    for rate, train in [(0.0, True), (0.5, False)]:
        np.testing.assert_allclose(function(params, inputs, rate, train), expected, atol=1e-10)
    all_dropped = np.broadcast_to(params["out"]["bias"], expected.shape)
    np.testing.assert_allclose(function(params, inputs, 1.0), all_dropped, atol=1e-10)
    # All queries attend to one key only, so a probability is 1 and a head is kept or dropped.
    mask = np.broadcast_to(np.arange(KEYS) == 3, (1, 1, QUERIES, KEYS))
    identity = {name: {"kernel": np.eye(WIDTH), "bias": np.zeros(WIDTH)} for name in LAYERS}
    many = [np.ones((1000, QUERIES, WIDTH)), np.ones((1000, KEYS, WIDTH))]
    heads = function(identity, many, 0.25, mask=mask).reshape(1000, QUERIES, HEADS, -1)
    assert np.ptp(heads, axis=-1).max() == 0
    dropped = heads[..., 0] == 0
    assert dropped.mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_allclose(heads[~dropped], 1 / 0.75, rtol=1e-6)


def test_no_random_bits_are_drawn_without_dropout(inputs):
    params = make_params()
    jax_apply(params, *inputs, train=True, dropout_rate=0.0)  # no rng given
    layer = torch_layer(params).train()
    before = torch.get_rng_state()
    layer(*map(torch.tensor, inputs), dropout_rate=0.0)
    assert torch.equal(torch.get_rng_state(), before)


class _Attend(nn.Module):
    """A model with the signature that ``parameter_types`` expects."""

    use_bias: bool = True

    @nn.compact
    def __call__(self, batch, *, train, dropout_rate):
        return jax_attention.MultiHeadAttention(WIDTH, HEADS, use_bias=self.use_bias, name="a")(
            jnp.asarray(batch["x"]), train=train, dropout_rate=dropout_rate
        )


@pytest.mark.parametrize("use_bias", [True, False])
def test_roles(use_bias):
    example = {"x": np.zeros((1, QUERIES, WIDTH), np.float32)}
    model = _Attend(use_bias)
    params = model.init(jax.random.key(0), example, train=False, dropout_rate=0.0)["params"]
    expected = {
        name: {"kernel": ParameterType[f"ATTENTION_{letter}"]}
        | ({"bias": ParameterType.ATTENTION_BIAS} if use_bias else {})
        for name, letter in zip(LAYERS, ["Q", "K", "V", "OUT"], strict=True)
    }
    assert jax_roles.parameter_types(model, params, example) == {"a": expected}
    layer = torch_attention.MultiHeadAttention(WIDTH, HEADS, use_bias=use_bias)
    flat = {
        f"{n}.{k.replace('kernel', 'weight')}": r for n, d in expected.items() for k, r in d.items()
    }
    assert torch_roles.parameter_types(layer) == flat


def test_initial_kernels_are_xavier_uniform_or_what_is_asked_for():
    bound = np.sqrt(6 / (2 * 64))
    x = jnp.zeros((1, 1, 64), np.float32)
    params = jax_attention.MultiHeadAttention(64, 2).init(jax.random.key(0), x)["params"]
    torch.manual_seed(0)
    state = torch_attention.MultiHeadAttention(64, 2).state_dict()
    for name in LAYERS:
        for kernel in (params[name]["kernel"], state[f"{name}.weight"].numpy()):
            assert 0.98 * bound < np.abs(kernel).max() <= bound
            assert np.std(kernel) == pytest.approx(bound / np.sqrt(3), rel=0.05)
        assert not params[name]["bias"].any()
        assert not state[f"{name}.bias"].any()
    ones = jax_attention.MultiHeadAttention(64, 2, kernel_init=nn.initializers.ones)
    assert (ones.init(jax.random.key(0), x)["params"]["out"]["kernel"] == 1).all()
    layer = torch_attention.MultiHeadAttention(64, 2, kernel_init=torch.nn.init.ones_)
    assert (layer.out.weight == 1).all()


@pytest.mark.parametrize("mask", masks().values(), ids=list(masks()))
def test_both_are_the_formula_in_float32(inputs, mask):
    """The path of trainings, which is the library's function in JAX, too."""
    params = make_params()
    expected = numpy_attention(params, *inputs, mask)
    params = jax.tree.map(np.float32, params)
    x = [np.float32(array) for array in inputs]
    from_jax = jax_apply(params, *x, mask=mask)
    layer = torch_layer(params).float()
    from_torch = layer(*map(torch.tensor, x), mask=None if mask is None else torch.tensor(mask))
    for actual in (np.asarray(from_jax), from_torch.detach().numpy()):
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
