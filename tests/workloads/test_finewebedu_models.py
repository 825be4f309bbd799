"""The decoder-only Transformer: against plain NumPy, causal, and with exact perplexity."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from finishline.data.pipeline import evaluation_batches
from finishline.data.sources import ArraySource
from finishline.frameworks.base import create_runtime
from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.frameworks.jax import roles as jax_roles
from finishline.frameworks.pytorch import roles as torch_roles
from finishline.spec import ForwardPassMode, ParameterType
from finishline.workload import find_workload
from workloads.finewebedu_lm import model_jax, model_pytorch
from workloads.finewebedu_lm.rotation import rotation_tables

LENGTH, VOCAB_SIZE, NUM_HEADS, WIDTH = 10, 23, 2, 12
CONFIG = {
    "vocab_size": VOCAB_SIZE,
    "length": LENGTH,
    "width": WIDTH,
    "depth": 2,
    "mlp_width": 7,
    "num_heads": NUM_HEADS,
}
FRAMEWORKS = ("jax", "pytorch")


def random_tokens(count, seed=0, length=LENGTH):
    generator = np.random.default_rng(seed)
    return generator.integers(0, VOCAB_SIZE, (count, length), dtype=np.int32)


@pytest.fixture(scope="module")
def params():
    """Random parameters, none of which is at a special value such as 1."""
    generator = np.random.default_rng(1)
    model = model_jax.Model(**CONFIG)
    init = functools.partial(model.init, train=False, dropout_rate=0.0)
    shapes = jax.eval_shape(init, jax.random.key(0), {"inputs": random_tokens(1)})["params"]

    def draw(path, leaf):
        mean = {"scale": 1.0, "qk_scale": 5.0}.get(path[-1].key, 0.0)
        return mean + 0.3 * generator.normal(size=leaf.shape)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def logits_of(framework, params, tokens, dtype="float64"):
    if framework == "jax":
        with jax.enable_x64(dtype == "float64"):
            cast = jax.tree.map(lambda a: jnp.asarray(a, dtype), params)
            return np.asarray(
                model_jax.Model(**CONFIG).apply(
                    {"params": cast}, {"inputs": jnp.asarray(tokens)}, train=False, dropout_rate=0.0
                )
            )
    state = flax_to_torch_state_dict(params, {})
    model = model_pytorch.Model(**CONFIG).to(getattr(torch, dtype))
    model.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    with torch.no_grad():
        return model({"inputs": torch.tensor(tokens)}, dropout_rate=0.0).numpy()


# --- Against plain NumPy


def plain_rotate(x):
    """(length, features): each pair as a complex number, times that of its angle."""
    length, width = x.shape
    pairs = x[:, 0::2] + 1j * x[:, 1::2]
    for position in range(length):
        for i in range(width // 2):
            pairs[position, i] *= np.exp(1j * position * 500_000.0 ** (-2 * i / width))
    return np.stack([pairs.real, pairs.imag], axis=-1).reshape(length, width)


def plain_norm(x, scale):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * scale


def plain_attention(x, params):
    """(length, width) to the same: head by head and query by query."""
    q, k, v = (x @ params[name]["kernel"] for name in ("query", "key", "value"))
    heads = []
    for columns in np.split(np.arange(WIDTH), NUM_HEADS):
        keys, values = plain_rotate(k[:, columns]), v[:, columns]
        queries = plain_rotate(q[:, columns])
        rows = []
        for position, query in enumerate(queries):
            past = keys[: position + 1]
            cosines = past @ query / np.linalg.norm(past, axis=-1) / np.linalg.norm(query)
            weights = np.exp(params["qk_scale"] * cosines)
            rows.append(weights @ values[: position + 1] / weights.sum())
        heads.append(np.array(rows))
    return np.concatenate(heads, axis=-1) @ params["out"]["kernel"]


def plain_logits(tokens, params):
    """The whole model on one sequence."""
    table = params["embedding"]["embedding"]
    x = table[tokens]
    for index in range(CONFIG["depth"]):
        block = params[f"block_{index}"]
        normed = plain_norm(x, block["attention_norm"]["scale"])
        x = x + plain_attention(normed, block["attention"])
        hidden = plain_norm(x, block["mlp_norm"]["scale"]) @ block["mlp"]["hidden"]["kernel"]
        a, b = np.split(hidden, 2, axis=-1)
        x = x + (a / (1 + np.exp(-b))) @ block["mlp"]["out"]["kernel"]
    return plain_norm(x, params["norm"]["scale"]) @ table.T


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_logits_are_those_of_plain_numpy(framework, params):
    tokens = random_tokens(3)
    expected = np.stack([plain_logits(one, params) for one in tokens])
    # The tables of angles are in single precision.
    np.testing.assert_allclose(logits_of(framework, params, tokens), expected, atol=2e-6)


def rotate(framework, x):
    """(length, features) with the tables of the model."""
    tables = rotation_tables(*x.shape, 500_000.0)
    if framework == "jax":
        rotation = tuple(jnp.asarray(table[:, None]) for table in tables)
        return np.asarray(model_jax.rotate(jnp.asarray(x[None, :, None]), rotation))[0, :, 0]
    rotation = tuple(map(torch.tensor, tables))
    return model_pytorch.rotate(torch.tensor(x[None, None]), rotation).numpy()[0, 0]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_rotation_at_full_length(framework):
    x = np.random.default_rng(0).normal(size=(1024, 128)).astype(np.float32)
    np.testing.assert_allclose(rotate(framework, x), plain_rotate(x), atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_products_of_rotated_vectors_depend_on_their_distance_alone(framework):
    q, k = np.random.default_rng(0).normal(size=(2, 1, 16)).astype(np.float32)
    queries, keys = (rotate(framework, np.repeat(x, 40, axis=0)) for x in (q, k))
    products = queries @ keys.T
    for distance in range(-39, 40):
        diagonal = np.diagonal(products, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-4)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_queries_and_keys_of_length_zero_have_finite_gradients(framework):
    for size, expected in ((0.0, 0.0), (1e-8, 0.01), (1e3, 1.0)):
        x = np.zeros((1, 4), np.float32)
        x[0, 1] = size
        if framework == "jax":
            length = float(jnp.linalg.norm(model_jax.unit(jnp.asarray(x))))
            gradient = np.asarray(jax.grad(lambda x: model_jax.unit(x).sum())(jnp.asarray(x)))
        else:
            tensor = torch.tensor(x, requires_grad=True)
            unit = model_pytorch.unit(tensor)
            length = unit.norm().item()
            unit.sum().backward()
            gradient = tensor.grad.numpy()
        assert abs(length - expected) < 1e-6
        assert np.isfinite(gradient).all()


# --- Properties


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_later_token_changes_no_earlier_logit(framework, params, dtype):
    tokens = random_tokens(2)
    before = logits_of(framework, params, tokens, dtype)
    for position in range(LENGTH):
        changed = tokens.copy()
        changed[:, position] = (changed[:, position] + 1) % VOCAB_SIZE
        after = logits_of(framework, params, changed, dtype)
        np.testing.assert_array_equal(after[:, :position], before[:, :position])
        assert (after[:, position:] != before[:, position:]).any(axis=(0, 2)).all()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_shorter_sequences_have_the_same_logits(framework, params):
    tokens = random_tokens(2)
    whole = logits_of(framework, params, tokens)
    short = logits_of(framework, params, tokens[:, :6])
    np.testing.assert_allclose(short, whole[:, :6], rtol=1e-9, atol=1e-12)


def test_initial_values():
    """That JAX's have the same distribution, a test of all workloads shows."""
    torch.manual_seed(0)
    config = {**CONFIG, "width": 128, "mlp_width": 256, "depth": 3}
    state = model_pytorch.Model(**config).state_dict()
    for name, tensor in state.items():
        if name.endswith("qk_scale"):
            assert tensor.shape == ()
            assert tensor.item() == pytest.approx(math.log2(LENGTH**2 - LENGTH))
        elif "norm" in name:
            assert (tensor == 1).all()
        else:
            is_before_sum = name.endswith(("attention.out.weight", "mlp.out.weight"))
            expected = 0.02 / math.sqrt(6) if is_before_sum else 0.02
            assert tensor.std().item() == pytest.approx(expected, rel=0.05), name


def test_roles_are_declared(params):
    model = model_jax.Model(**CONFIG)
    in_jax = jax_roles.parameter_types(model, params, {"inputs": random_tokens(1)})
    in_pytorch = torch_roles.parameter_types(model_pytorch.Model(**CONFIG))
    block = in_jax["block_0"]
    assert block["attention"]["query"]["kernel"] is ParameterType.ATTENTION_Q
    assert block["attention"]["qk_scale"] is ParameterType.LAYER_NORM_SCALE
    assert in_jax["embedding"]["embedding"] is ParameterType.EMBEDDING
    assert in_pytorch["block_1.attention.key.weight"] is ParameterType.ATTENTION_K
    assert in_pytorch["block_1.mlp_norm.weight"] is ParameterType.LAYER_NORM_SCALE
    assert in_pytorch["embedding.weight"] is ParameterType.EMBEDDING
    counts = [
        sorted(role.value for role in roles)
        for roles in (jax.tree.leaves(in_jax), in_pytorch.values())
    ]
    assert counts[0] == counts[1]


# --- Metrics


@pytest.fixture(scope="module", params=FRAMEWORKS)
def evaluation(request):
    """A small workload's runtime and parameters, and a split of 13 windows."""
    mini = find_workload("finewebedu_lm_mini")
    workload = mini.variant(mini.name, model=CONFIG)
    runtime = create_runtime(
        request.param, workload, dict.fromkeys(("train", "test"), 13) | {"validation": 13}
    )
    tokens = random_tokens(13, seed=3, length=LENGTH + 1)
    source = ArraySource({"inputs": tokens[:, :-1].copy(), "targets": tokens[:, 1:].copy()})
    model, state = runtime.init_model(0, source.gather(np.arange(1)))
    return runtime, model, state, source


def test_perplexity_is_that_of_the_whole_split_for_every_batch_size(evaluation):
    runtime, model, state, source = evaluation
    batch = source.gather(np.arange(13))
    (placed,) = runtime.place([batch])
    logits, _ = runtime.workload.model_fn(model, placed, state, ForwardPassMode.EVAL, None, False)
    logits = np.asarray(logits).astype(np.float64)
    normalizers = np.log(np.exp(logits).sum(axis=-1))
    losses = normalizers - np.take_along_axis(logits, batch["targets"][..., None], axis=-1)[..., 0]
    for batch_size in (1, 2, 3, 5, 12, 13, 40):
        batches = evaluation_batches(source, batch_size)
        metrics = runtime.evaluate(model, state, batches)
        assert metrics["loss"] == pytest.approx(losses.mean(), rel=1e-6)
        assert metrics["ppl"] == pytest.approx(np.exp(losses.mean()), rel=1e-6)


def test_the_loss_counts_tokens(evaluation):
    runtime, model, state, source = evaluation
    (placed,) = runtime.place([source.gather(np.arange(4))])
    logits, _ = runtime.workload.model_fn(model, placed, state, ForwardPassMode.EVAL, None, False)
    (masked,) = runtime.place([{"weights": np.array([1, 0, 1, 1], np.float32)}])
    loss = runtime.workload.loss_fn(placed["targets"], logits, masked["weights"])
    assert loss["per_example"].shape == (4, LENGTH)
    assert float(loss["n_valid_examples"]) == 3 * LENGTH
    assert float(loss["summed"]) == pytest.approx(float(loss["per_example"].sum()), rel=1e-6)
    assert float(abs(loss["per_example"][1]).sum()) == 0
    whole = runtime.workload.loss_fn(placed["targets"], logits)
    assert float(whole["n_valid_examples"]) == 4 * LENGTH
