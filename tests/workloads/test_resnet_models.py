"""ResNets: published sizes, and one function in both frameworks for every variant."""

import functools

import flax
import jax
import numpy as np
import pytest
import torch
from flax import linen as nn

from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.frameworks.jax.losses import compute_loss as jax_loss
from finishline.frameworks.pytorch.losses import compute_loss as torch_loss
from finishline.spec import LossType
from finishline.workload import find_workload
from workloads.resnet import model_jax, model_pytorch

VARIANTS = [
    "imagenet_resnet",
    "imagenet_resnet_silu",
    "imagenet_resnet_gelu",
    "imagenet_resnet_large_bn_init",
    "cifar",
]
LOSS_TYPE = LossType.SOFTMAX_CROSS_ENTROPY


def example(height=32, batch_size=6, dtype=np.float32):
    generator = np.random.default_rng(0)
    return {
        "inputs": generator.normal(size=(batch_size, height, height, 3)).astype(dtype),
        "targets": generator.integers(0, 10, batch_size).astype(np.int32),
    }


def initial_variables(model, batch):
    init = jax.jit(functools.partial(model.init, train=False, dropout_rate=0.0))
    return jax.device_get(init(jax.random.key(0, impl="rbg"), batch))


def made_up_variables(model, batch, dtype):
    """Scales, biases and running statistics away from 0 and 1, where errors would not show."""
    generator = np.random.default_rng(1)

    def make_up(path, shape):
        if path[-1] == "kernel":
            return generator.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
        if path[-1] in ("scale", "var"):
            return generator.uniform(0.8, 1.5, shape)
        return generator.normal(0, 0.1, shape)

    init = functools.partial(model.init, train=False, dropout_rate=0.0)
    flat = flax.traverse_util.flatten_dict(jax.eval_shape(init, jax.random.key(0), batch))
    return flax.traverse_util.unflatten_dict(
        {path: make_up(path, leaf.shape).astype(dtype) for path, leaf in flat.items()}
    )


def jax_results(model, variables, batch, train):
    """Logits, loss, gradients and new running statistics, with PyTorch's names and layouts."""

    def mean_loss(params, batch):
        logits, updated = model.apply(
            variables | {"params": params},
            batch,
            train=train,
            dropout_rate=0.0,
            mutable=["batch_stats"],
        )
        loss = jax_loss(LOSS_TYPE, batch["targets"], logits)
        return loss["summed"] / loss["n_valid_examples"], (logits, loss["per_example"], updated)

    # Compiling is most of the work here, so it is done with little optimisation.
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    gradient = jax.jit(jax.value_and_grad(mean_loss, has_aux=True), compiler_options=options)
    results = gradient(variables["params"], batch)
    (_, (logits, losses, updated)), gradients = results
    return {
        "logits": logits,
        "losses": losses,
        **{f"gradient of {k}": v for k, v in flax_to_torch_state_dict(gradients, {}).items()},
        **flax_to_torch_state_dict({}, updated["batch_stats"]),
    }


def load(model, variables):
    state = flax_to_torch_state_dict(variables["params"], variables["batch_stats"])
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    model.to(next(iter(tensors.values())).dtype).load_state_dict(tensors)


def torch_results(model, batch, train, run=None):
    model.train(train)
    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    logits = (model if run is None else run)(tensors, dropout_rate=0.0)
    loss = torch_loss(LOSS_TYPE, tensors["targets"], logits)
    (loss["summed"] / loss["n_valid_examples"]).backward()
    return {
        "logits": logits.detach().numpy(),
        "losses": loss["per_example"].detach().numpy(),
        **{f"gradient of {name}": p.grad.numpy() for name, p in model.named_parameters()},
        **{name: buffer.numpy() for name, buffer in model.named_buffers()},
    }


def assert_close(actual, expected, tolerance):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        value = np.asarray(value)
        assert actual[name].shape == value.shape
        assert actual[name].dtype == value.dtype
        error = np.linalg.norm(actual[name] - value) / np.linalg.norm(value)
        assert error <= tolerance, (name, error)


@pytest.mark.parametrize(
    ("name", "same_padding", "dtype", "tolerance"),
    [
        ("imagenet_resnet", False, np.float64, 1e-5),
        ("imagenet_resnet", True, np.float64, 1e-5),
        ("imagenet_resnet_silu", True, np.float64, 1e-5),
        ("imagenet_resnet_gelu", True, np.float32, 1e-4),
        ("cifar", False, np.float32, 1e-4),
        ("cifar", True, np.float64, 1e-5),
    ],
)
def test_both_frameworks_compute_the_same_function(name, same_padding, dtype, tolerance):
    config = find_workload(name).shrunk().model | {"same_padding": same_padding}
    batch = example(dtype=dtype)
    with jax.enable_x64(dtype == np.float64):
        in_jax = model_jax.Model(**config)
        variables = made_up_variables(in_jax, batch, dtype)
        expected = {train: jax_results(in_jax, variables, batch, train) for train in (True, False)}
    for train in (True, False):
        in_torch = model_pytorch.Model(**config)
        load(in_torch, variables)
        assert_close(torch_results(in_torch, batch, train), expected[train], tolerance)


def shapes_in_jax(name):
    workload = find_workload(name)
    inputs = {"inputs": np.zeros((1, *workload.dataset.fields["inputs"].shape), np.float32)}
    init = functools.partial(workload.build_model("jax").init, train=False, dropout_rate=0.0)
    shapes = jax.eval_shape(init, jax.random.key(0), inputs)
    return (
        flax_to_shapes(shapes["params"]),
        flax_to_shapes(shapes["batch_stats"]),
    )


def flax_to_shapes(tree):
    return sorted(leaf.size for leaf in jax.tree.leaves(tree))


def shapes_in_pytorch(name):
    with torch.device("meta"):
        model = find_workload(name).build_model("pytorch")
    return (
        sorted(p.numel() for p in model.parameters()),
        sorted(b.numel() for b in model.buffers()),
    )


@pytest.mark.parametrize("name", VARIANTS)
def test_sizes_are_those_published(name):
    count, tensors, state = (
        (11_173_962, 62, 9_600) if name == "cifar" else (25_557_032, 161, 53_120)
    )
    for parameters, buffers in (shapes_in_jax(name), shapes_in_pytorch(name)):
        assert sum(parameters) == count
        assert len(parameters) == tensors
        assert sum(buffers) == state
    assert shapes_in_jax(name) == shapes_in_pytorch(name)


@pytest.mark.parametrize("name", ["imagenet_resnet", "imagenet_resnet_large_bn_init", "cifar"])
def test_initial_parameters_have_the_same_distribution(name):
    """Mean and standard deviation of each tensor agree within six standard errors."""
    workload = find_workload(name)
    config = workload.shrunk().model
    torch.manual_seed(0)
    theirs = model_pytorch.Model(**config).state_dict()
    variables = initial_variables(model_jax.Model(**config), example())
    ours = flax_to_torch_state_dict(variables["params"], variables["batch_stats"])
    assert ours.keys() == theirs.keys()
    for tensor, a in ours.items():
        b = theirs[tensor].numpy()
        bound = 6 * max(a.std(), b.std()) * np.sqrt(2 / a.size) + 1e-7
        assert abs(a.mean() - b.mean()) <= bound, tensor
        assert abs(a.std() - b.std()) <= bound, tensor
    assert ours["output.weight"].std() == pytest.approx(0.01, rel=0.2)
    assert not ours["output.bias"].any()
    last_norm = "norm_2" if config["block"] == "bottleneck" else "norm_1"
    for tensor, a in ours.items():
        if "norm" in tensor and tensor.endswith("weight"):
            scale = config["bn_init_scale"] if last_norm in tensor else 1.0
            assert (a == scale).all(), tensor


@pytest.mark.parametrize("size", [8, 9])
def test_same_padding_is_that_of_flax(size):
    """Against flax's own padding, and different from the symmetric one where that differs."""
    x = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)
    layer = nn.Conv(4, (3, 3), strides=(2, 2), padding="SAME", use_bias=False)
    params = layer.init(jax.random.key(0), x)["params"]
    expected = np.asarray(layer.apply({"params": params}, x))
    weight = torch.from_numpy(flax_to_torch_state_dict(params, {})["weight"])
    outputs = {}
    for same_padding in (True, False):
        in_torch = model_pytorch.conv(3, 4, 3, 2, same_padding=same_padding)
        in_torch.load_state_dict({"weight": weight})
        y = in_torch(torch.from_numpy(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        outputs[same_padding] = y.detach().numpy()
        flax_conv = model_jax.conv(4, 3, 2, same_padding=same_padding, name="conv")
        np.testing.assert_allclose(
            outputs[same_padding], flax_conv.apply({"params": params}, x), atol=1e-5
        )
    np.testing.assert_allclose(outputs[True], expected, atol=1e-5)
    is_symmetric = size % 2 == 1
    assert np.allclose(outputs[False], expected, atol=1e-5) == is_symmetric


def test_the_quirk_sets_the_padding():
    workload = find_workload("imagenet_resnet")
    quirky = workload.variant("quirky", quirks=frozenset({"same_padding"}))
    for framework in ("jax", "pytorch"):
        assert not getattr(workload.build_model(framework), "same_padding", False)
    assert quirky.build_model("jax").same_padding
    with torch.device("meta"):
        model = quirky.build_model("pytorch")
    padded = [n for n, m in model.named_modules() if isinstance(m, model_pytorch.SameConv2d)]
    assert padded == [f"stage_{stage}.block_0.conv_1" for stage in (1, 2, 3)]


# PyTorch's own, when it imports its compiler.
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", ["imagenet_resnet", "cifar"])
def test_compiled_as_one_graph_it_is_the_same(name):
    """In training with and without an update of the running statistics, and in evaluation."""
    config = find_workload(name).shrunk().model | {"same_padding": True}
    batch = example(dtype=np.float64)
    variables = made_up_variables(model_jax.Model(**config), batch, np.float64)
    torch.compiler.reset()
    models = [model_pytorch.Model(**config) for _ in range(2)]
    # All of the compiler but the generation of C++, which takes a minute.
    torch.compiler.reset()  # each test has a cache of its own
    compiled = torch.compile(models[1], fullgraph=True, backend="aot_eager_decomp_partition")
    for train, updates in ((True, True), (True, False), (False, True)):
        for model in models:
            load(model, variables)
            model.zero_grad()
            for module in model.modules():
                if isinstance(module, model_pytorch.BatchNorm2d):
                    module.update_running_statistics = updates
        expected = torch_results(models[0], batch, train)
        assert_close(torch_results(models[1], batch, train, run=compiled), expected, 1e-10)
