"""DLRM: initial distributions, the products, dropout, shared rows, roles."""

import jax
import numpy as np
import pytest
import torch

from finishline import spec
from finishline.frameworks.base import create_runtime
from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.workload import all_workloads

WORKLOADS = {
    name: workload.shrunk()
    for name, workload in all_workloads().items()
    if workload.package == "workloads.criteo1tb"
}
FULL = ("criteo1tb", "criteo1tb_layernorm", "criteo1tb_resnet", "criteo1tb_embed_init")
COUNTS = dict.fromkeys(("train", "validation", "test"), 1)


def make_batch(size=6):
    generator = np.random.default_rng(0)
    return {
        "inputs": 3 * generator.random((size, 13), np.float32),
        "categories": generator.integers(0, 40_000_000, (size, 26), np.int32),
        "targets": generator.integers(0, 2, (size, 1)).astype(np.float32),
    }


@pytest.fixture(params=FULL)
def workload(request):
    return WORKLOADS[request.param]


def initial_state(workload, framework):
    """Initial parameters with PyTorch's names and layouts."""
    if framework == "pytorch":
        torch.manual_seed(0)
        return {k: v.numpy() for k, v in workload.build_model("pytorch").state_dict().items()}
    model = workload.build_model("jax")
    variables = jax.jit(
        lambda key: model.init(key, jax.device_put(make_batch()), train=False, dropout_rate=0.0)
    )(jax.random.key(0, impl="rbg"))
    return flax_to_torch_state_dict(jax.device_get(variables["params"]), {})


def expected_std(workload, name, shape):
    """(Standard deviation, largest value or None) of an initial parameter."""
    layer, leaf = name.rsplit(".", 1)
    if layer == "embedding_table":
        scale = workload.model.get("embedding_scale")
        scale = shape[0] ** -0.5 if scale is None else scale
        return scale / 12**0.5, scale
    if leaf == "bias":
        return shape[0] ** -0.5, None
    std = (2 / sum(shape)) ** 0.5
    return (std, 3**0.5 * std) if layer.startswith("bottom") else (std, None)


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_initial_parameters_have_the_published_distributions(workload, framework):
    for name, array in initial_state(workload, framework).items():
        if "norm" in name:
            assert set(array.ravel()) == {0.0 if name.endswith("bias") else 1.0}
            continue
        std, bound = expected_std(workload, name, array.shape)
        tolerance = 6 / np.sqrt(2 * array.size)
        if array.size > 1:
            assert abs(array.std() / std - 1) < tolerance, name
        mean = bound / 2 if name.startswith("embedding_table") else 0
        assert abs(array.mean() - mean) < 6 * std / np.sqrt(array.size), name
        if bound is not None:
            assert 0.98 * bound < np.abs(array).max() <= bound, name
        elif array.size > 1000:
            assert np.abs(array).max() > 2.5 * std, name
        assert array.min() < 0 or name.startswith("embedding_table") or array.size == 1, name


def test_the_products_are_those_of_all_pairs_and_squares():
    from workloads.criteo1tb.model_jax import _dot_products

    generator = np.random.default_rng(0)
    bottom, embedded = generator.random((3, 5)), generator.random((3, 26, 5))
    vectors = np.concatenate([bottom[:, None], embedded], axis=1)
    expected = [[v[i] @ v[j] for i in range(27) for j in range(i, 27)] for v in vectors]
    assert np.shape(expected) == (3, 378)
    np.testing.assert_allclose(
        _dot_products(*jax.device_put((bottom, embedded))), expected, rtol=1e-5
    )
    model = WORKLOADS["criteo1tb"].build_model("pytorch").double()
    tensors = torch.from_numpy(bottom), torch.from_numpy(embedded)
    np.testing.assert_allclose(model._dot_products(*tensors).numpy(), expected)


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_categories_share_the_row_of_their_remainder(workload, framework):
    rows = workload.model["vocab_size"]
    batch = make_batch()
    moved = batch | {"categories": batch["categories"] % rows + 3 * rows}
    other = batch | {"categories": batch["categories"] + 1}
    runtime = create_runtime(framework, workload, COUNTS)
    params, state = runtime.init_model(0, batch)

    def forward(params, batch):
        mode = spec.ForwardPassMode.EVAL
        return runtime.workload.model_fn(params, batch, state, mode, None, False)[0]

    function = jax.jit(forward) if framework == "jax" else forward

    def logits(batch):
        return np.asarray(function(params, next(iter(runtime.place([batch])))))

    assert logits(batch).shape == (6, 1)
    np.testing.assert_array_equal(logits(batch), logits(moved))
    assert (logits(batch) != logits(other)).all()


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_roles_and_output_layer(workload, framework):
    runtime = create_runtime(framework, workload, COUNTS)
    runtime.init_model(0, make_batch())
    types = runtime.workload.model_params_types
    if framework == "jax":
        types = {
            ".".join(p.key for p in path): role
            for path, role in jax.tree_util.tree_leaves_with_path(types)
        }
    roles = spec.ParameterType
    tables = [name for name, role in types.items() if role is roles.EMBEDDING]
    outputs = [name for name in types if runtime.workload.is_output_params(name)]
    assert [name.split(".")[0] for name in tables] == ["embedding_table"]
    assert sorted(types[name].name for name in outputs) == ["BIAS", "WEIGHT"]
    assert {name.split(".")[0] for name in outputs} == {"output"}
    norms = [role for name, role in types.items() if "norm" in name.split(".")[0]]
    assert set(norms) <= {roles.LAYER_NORM_SCALE, roles.LAYER_NORM_BIAS}
    assert bool(norms) == ("layernorm" in workload.name)


def test_dropout_with_a_traced_rate_comes_after_the_last_hidden_layer(workload):
    """At rate 1 of a residual model its layer is left out; else only the output's bias is left."""
    model, batch = workload.build_model("jax"), jax.device_put(make_batch())
    init = jax.jit(lambda key: model.init(key, batch, train=False, dropout_rate=0.0))
    variables = init(jax.random.key(0, impl="rbg"))

    @jax.jit
    def apply(rate, key):
        rngs = {"dropout": key}
        return model.apply(variables, batch, train=True, dropout_rate=rate, rngs=rngs)

    keys = jax.random.split(jax.random.key(1), 3)
    assert np.isfinite(apply(0.0, keys[0])).all()
    np.testing.assert_array_equal(apply(0.0, keys[0]), apply(0.0, keys[1]))
    assert not np.allclose(apply(0.5, keys[0]), apply(0.5, keys[1]))
    without = apply(1.0, keys[0])
    np.testing.assert_array_equal(without, apply(1.0, keys[1]))
    bias = variables["params"]["output"]["bias"]
    assert np.array_equal(without, np.broadcast_to(bias, (6, 1))) != workload.model.get(
        "is_residual", False
    )
    torch_model = workload.build_model("pytorch")
    state = flax_to_torch_state_dict(jax.device_get(variables["params"]), {})
    torch_model.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    tensors = {name: torch.from_numpy(array) for name, array in make_batch().items()}
    with torch.no_grad():
        in_pytorch = torch_model.train()(tensors, dropout_rate=1.0)
    np.testing.assert_allclose(in_pytorch, without, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_labels_are_not_smoothed_as_in_the_published_benchmark(framework):
    runtime = create_runtime(framework, WORKLOADS["criteo1tb"], COUNTS)
    (batch,) = runtime.place([make_batch()])
    loss = runtime.workload.loss_fn
    plain, smoothed = (loss(batch["targets"], batch["inputs"][:, :1], None, s) for s in (0.0, 0.4))
    assert float(plain["summed"]) == float(smoothed["summed"]) > 0
    assert plain["per_example"].shape == (6,)
    assert float(plain["n_valid_examples"]) == 6


def test_published_numbers():
    base = all_workloads()["criteo1tb"]
    assert base.dataset.num_examples == {
        "train": 4_195_197_692,
        "validation": 83_274_637,
        "test": 95_000_000,
    }
    targets = {name: all_workloads()[name].target for name in FULL}
    assert {name: (t.validation, t.test) for name, t in targets.items()} == {
        "criteo1tb": (0.123735, 0.126041),
        "criteo1tb_layernorm": (0.123757, 0.126152),
        "criteo1tb_resnet": (0.12415, 0.12648),
        "criteo1tb_embed_init": (0.129657, 0.131967),
    }
    assert {(t.metric, t.minimize) for t in targets.values()} == {("loss", True)}
    assert {all_workloads()[name].step_hint for name in FULL} == {10_666}
    assert (base.eval_batch_size, base.num_eval_train_examples) == (131_072, 83_361_792)
