"""The Vision Transformer and its variants, small: one function in both frameworks."""

import functools

import jax
import numpy as np
import pytest
import torch

from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.frameworks.jax import roles as jax_roles
from finishline.frameworks.jax.losses import compute_loss as jax_loss
from finishline.frameworks.pytorch import roles as torch_roles
from finishline.frameworks.pytorch.losses import compute_loss as torch_loss
from finishline.spec import ParameterType
from workloads.imagenet_vit import model_jax, model_pytorch
from workloads.imagenet_vit.position import sincos_position_embedding
from workloads.imagenet_vit.workload import WORKLOADS

BATCH_SIZE = 4
CONFIG = {"width": 16, "mlp_width": 24, "num_heads": 2, "patch_size": 8, "depth": 1}
BY_NAME = {
    workload.name: workload.variant(workload.name, model={**workload.shrunk().model, **CONFIG})
    for workload in WORKLOADS
    if not workload.name.endswith("_mini")  # which is the base workload, shrunk
}


@pytest.fixture(params=BY_NAME, scope="module")
def workload(request):
    return BY_NAME[request.param]


def make_batch(workload, dtype="float32", *, mixed=False):
    """Random images, with class indices as labels or, as mixup makes them, with distributions."""
    generator = np.random.default_rng(0)
    n_classes, side = workload.model["num_classes"], workload.model["image_size"]
    targets = generator.integers(0, n_classes, BATCH_SIZE, dtype=np.int32)
    if mixed:
        one_hot = np.eye(n_classes, dtype=dtype)[targets]
        targets = 0.8 * one_hot + 0.2 * np.roll(one_hot, 1, axis=0)
    return {
        "inputs": generator.normal(size=(BATCH_SIZE, side, side, 3)).astype(dtype),
        "targets": targets,
    }


def make_params(workload, dtype="float32"):
    """Random parameters, none of which is at a special value such as 0."""
    generator = np.random.default_rng(1)
    init = functools.partial(workload.build_model("jax").init, train=False, dropout_rate=0.0)
    shapes = jax.eval_shape(init, jax.random.key(0), make_batch(workload))["params"]

    def draw(path, leaf):
        mean = 1.0 if path[-1].key == "scale" else 0.0
        return (mean + 0.2 * generator.normal(size=leaf.shape)).astype(dtype)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def torch_model(workload, params):
    state = flax_to_torch_state_dict(params, {})
    tensors = {name: torch.tensor(array) for name, array in state.items()}
    model = workload.build_model("pytorch").to(tensors["head.weight"].dtype)
    model.load_state_dict(tensors)
    return model


def as_tensors(batch):
    return {name: torch.tensor(array) for name, array in batch.items()}


@functools.cache
def jax_step(name, train):
    """A function of parameters and batch: mean loss, (logits, losses) and gradients."""
    workload = BY_NAME[name]
    model = workload.build_model("jax")

    def mean_loss(params, batch):
        logits = model.apply({"params": params}, batch, train=train, dropout_rate=0.0)
        loss = jax_loss(workload.loss_type, batch["targets"], logits)
        return loss["summed"] / BATCH_SIZE, (logits, loss["per_example"])

    return jax.jit(jax.value_and_grad(mean_loss, has_aux=True))


def torch_step(workload, model, batch):
    """The same in PyTorch; the gradients are added to those in the model."""
    tensors = as_tensors(batch)
    logits = model(tensors, dropout_rate=0.0)
    loss = torch_loss(workload.loss_type, tensors["targets"], logits)
    (loss["summed"] / BATCH_SIZE).backward()
    gradients = {name: p.grad.numpy() for name, p in model.named_parameters()}
    return logits.detach().numpy(), loss["per_example"].detach().numpy(), gradients


@pytest.mark.parametrize(
    ("dtype", "train", "tolerance"), [("float64", True, 1e-10), ("float32", False, 1e-4)]
)
def test_both_frameworks_compute_the_same_function(workload, dtype, train, tolerance):
    """In training with distributions as labels, in evaluation with class indices."""
    with jax.enable_x64(dtype == "float64"):
        params, batch = make_params(workload, dtype), make_batch(workload, dtype, mixed=train)
        (_, outputs), gradients = jax_step(workload.name, train)(params, batch)
    model = torch_model(workload, params).train(train)
    *torch_outputs, torch_gradients = torch_step(workload, model, batch)
    for ours, theirs in zip(torch_outputs, map(np.asarray, outputs), strict=True):
        assert ours.dtype == theirs.dtype == dtype
        assert np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs)
    gradients = flax_to_torch_state_dict(gradients, {})
    assert torch_gradients.keys() == gradients.keys()
    # That of the keys' biases is 0 but for rounding: all gradients together set the scale.
    scale = np.sqrt(np.mean([np.square(gradient).sum() for gradient in gradients.values()]))
    for name, gradient in gradients.items():
        error = np.linalg.norm(torch_gradients[name] - gradient)
        assert error <= tolerance * max(scale, np.linalg.norm(gradient)), name


def test_frameworks_stay_together_over_ten_steps(workload):
    rate = 0.05
    with jax.enable_x64(True):
        start = make_params(workload, "float64")
        batch = make_batch(workload, "float64", mixed=True)
        params = start
        for _ in range(10):
            _, gradients = jax_step(workload.name, True)(params, batch)
            params = jax.tree.map(lambda p, g: p - rate * np.asarray(g), params, gradients)
    model = torch_model(workload, start).train()
    optimizer = torch.optim.SGD(model.parameters(), rate)
    for _ in range(10):
        optimizer.zero_grad()
        torch_step(workload, model, batch)
        optimizer.step()
    before = flax_to_torch_state_dict(start, {})
    for name, after in flax_to_torch_state_dict(params, {}).items():
        actual = model.get_parameter(name).detach().numpy()
        np.testing.assert_allclose(actual, after, rtol=1e-8, atol=1e-10, err_msg=name)
        assert name.endswith("key.bias") or not np.allclose(after, before[name], atol=1e-7), name


def expected_role(name):
    """By the name, as an outsider would guess it; the models declare it."""
    layer, kind = name.split(".")[-2:]
    is_bias = kind == "bias"
    if layer in ("query", "key", "value", "out") and "attention." in name:
        letter = {"query": "Q", "key": "K", "value": "V", "out": "OUT"}[layer]
        return ParameterType.ATTENTION_BIAS if is_bias else ParameterType[f"ATTENTION_{letter}"]
    if layer.endswith("norm"):
        return ParameterType.LAYER_NORM_BIAS if is_bias else ParameterType.LAYER_NORM_SCALE
    if is_bias:
        return ParameterType.BIAS
    return ParameterType.CONV_WEIGHT if layer == "embedding" else ParameterType.WEIGHT


def test_roles(workload):
    params = make_params(workload)
    types = jax_roles.parameter_types(workload.build_model("jax"), params, make_batch(workload))
    with torch.device("meta"):
        actual = torch_roles.parameter_types(workload.build_model("pytorch"))
    names = flax_to_torch_state_dict(params, {})
    assert actual == {name: expected_role(name) for name in names}
    marks = jax.tree.map(lambda role: np.full((1, 1), role.value), types)
    flat = flax_to_torch_state_dict(marks, {})
    assert {name: ParameterType(mark.item()) for name, mark in flat.items()} == actual


@pytest.mark.parametrize("definition", WORKLOADS, ids=lambda definition: definition.name)
def test_initial_parameters_have_the_distributions_that_are_written_down(definition):
    shrunk = definition.shrunk()
    workload = shrunk.variant(definition.name, model={**shrunk.model, "depth": 1})
    init = functools.partial(workload.build_model("jax").init, train=False, dropout_rate=0.0)
    batch = make_batch(workload)
    params = jax.jit(init)(jax.random.key(0, impl="rbg"), batch)["params"]
    torch.manual_seed(0)
    state = workload.build_model("pytorch").state_dict()
    of_jax = flax_to_torch_state_dict(params, {})
    assert state.keys() == of_jax.keys()
    for name in of_jax:
        for array in (of_jax[name], state[name].numpy()):
            check_initial(name, array)


def check_initial(name, array):
    role = expected_role(name)
    if role is ParameterType.LAYER_NORM_SCALE:
        assert (array == 1).all()
    elif "mlp." in name and role is ParameterType.BIAS:
        assert array.std() == pytest.approx(1e-6, rel=0.35)
    elif name == "head.weight" or "bias" in name:
        assert not array.any()
    elif name.startswith(("embedding", "pre_logits")):
        std = np.sqrt(1 / array[0].size)
        assert array.std() == pytest.approx(std, rel=0.1)
        assert 1.9 * std < np.abs(array).max() <= 2 / 0.8796 * std + 1e-6
    else:
        bound = np.sqrt(6 / sum(array.shape))
        assert 0.9 * bound < np.abs(array).max() <= bound
        assert array.std() == pytest.approx(bound / np.sqrt(3), rel=0.2)


def test_position_embedding_is_its_formula():
    table = sincos_position_embedding(3, 5, 16)
    assert table.shape == (15, 16)
    assert table.dtype == np.float32
    for y in range(3):
        for x in range(5):
            angles = [(z * 10_000 ** (-i / 3)) for z in (x, y) for i in range(4)]
            expected = [
                f(angles[4 * z + i]) for z in (0, 1) for f in (np.sin, np.cos) for i in range(4)
            ]
            np.testing.assert_allclose(table[5 * y + x], expected, atol=1e-6)


def test_position_embedding_is_no_parameter_and_not_in_snapshots():
    workload = BY_NAME["imagenet_vit"]
    model = workload.build_model("pytorch")
    assert model.position.shape == (16, 16)
    assert not any("position" in name for name in model.state_dict())
    assert model.double().position.dtype == torch.float64


def test_order_of_the_patches_matters_by_the_position_embedding_alone():
    workload = BY_NAME["imagenet_vit"]
    batch = make_batch(workload)
    moved = {**batch, "inputs": np.roll(batch["inputs"], 8, axis=1)}
    model = torch_model(workload, make_params(workload))

    def difference():
        a, b = (model(as_tensors(each), dropout_rate=0.0) for each in (batch, moved))
        return (a - b).abs().max().item()

    assert difference() > 1e-3
    model.position.zero_()
    assert difference() < 1e-5


def test_variants_are_what_their_names_say():
    x = torch.randn(2, 5, 8)
    gated = model_pytorch.MLP(8, 12, is_gated=True)
    h = torch.nn.functional.gelu(gated.hidden(x), approximate="tanh")
    assert torch.allclose(gated(x, dropout_rate=0.0), gated.out(h * gated.gate(h)))
    post = model_pytorch.Block(8, 12, 2, is_gated=False, is_post_norm=True)
    y = post.attention_norm(x + post.attention(x))
    y = post.mlp_norm(y + post.mlp(y, dropout_rate=0.0))
    assert torch.allclose(post(x, dropout_rate=0.0), y)
    pre = model_pytorch.Block(8, 12, 2, is_gated=False, is_post_norm=False)
    y = x + pre.attention(pre.attention_norm(x))
    y = y + pre.mlp(pre.mlp_norm(y), dropout_rate=0.0)
    assert torch.allclose(pre(x, dropout_rate=0.0), y)
    pooling = model_pytorch.AttentionPooling(8, 12, 2, is_gated=False)
    one = pooling(x, dropout_rate=0.0)
    assert one.shape == (2, 8)
    assert torch.allclose(one, pooling(x.flip(1), dropout_rate=0.0), atol=1e-6)


def dropped_torch(workload, params, batch, rate, train):
    torch.manual_seed(0)
    model = torch_model(workload, params).train(train)
    return model(as_tensors(batch), dropout_rate=rate).detach().numpy()


def dropped_jax(workload, params, batch, rate, train):
    model = workload.build_model("jax")
    rngs = {"dropout": jax.random.key(0, impl="rbg")}
    apply = functools.partial(model.apply, train=train, rngs=rngs)
    return np.asarray(jax.jit(apply)({"params": params}, batch, dropout_rate=rate))  # traced


@pytest.mark.parametrize("function", [dropped_jax, dropped_torch])
def test_dropout_acts_in_training_only(function):
    workload = BY_NAME["imagenet_vit_map"]
    params, batch = make_params(workload), make_batch(workload)
    without = function(workload, params, batch, 0.0, True)
    assert not np.allclose(function(workload, params, batch, 0.3, True), without, atol=1e-3)
    actual = function(workload, params, batch, 0.3, False)
    np.testing.assert_allclose(actual, without, rtol=1e-4, atol=1e-5)


def test_dropout_sites_are_the_same(workload, monkeypatch):
    """Each site drops a tensor of its shape: after the embedding, and three times a block."""
    shapes = {model_jax: [], model_pytorch: []}
    for module, seen in shapes.items():

        def note(*args, seen=seen, **kwargs):
            x = next(a for a in args if hasattr(a, "shape"))
            seen.append(tuple(x.shape))
            return x

        monkeypatch.setattr(module, "dropout", note)
    batch = make_batch(workload)
    variables = {"params": make_params(workload)}
    shapes[model_jax].clear()  # the initialisation has been there, too
    apply = functools.partial(workload.build_model("jax").apply, train=True, dropout_rate=0.5)
    jax.eval_shape(apply, variables, batch)
    workload.build_model("pytorch").train()(as_tensors(batch), dropout_rate=0.5)
    config = workload.model
    tokens = (config["image_size"] // config["patch_size"]) ** 2
    narrow = (BATCH_SIZE, tokens, config["width"])
    wide = (BATCH_SIZE, tokens, config["mlp_width"])
    expected = [narrow] + [narrow, wide, narrow] * config["depth"]
    if config.get("has_attention_pooling"):
        expected.append((BATCH_SIZE, 1, config["mlp_width"]))
    assert shapes == {model_jax: expected, model_pytorch: expected}


def test_output_layer_is_the_same():
    assert model_jax.Model.output_layer == model_pytorch.Model.output_layer == "head"


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_torch_compile_finds_one_graph(name):
    workload = BY_NAME[name]
    params, batch = make_params(workload), as_tensors(make_batch(workload))
    model = torch_model(workload, params).train()
    expected = model(batch, dropout_rate=0.0)
    torch.compiler.reset()  # each test has a cache of its own
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(batch, dropout_rate=0.0), expected, rtol=1e-4, atol=1e-5)
    assert compiled(batch, dropout_rate=0.1).isfinite().all()
