"""The two models of each workload are one function: same weights, same logits, same gradients."""

import jax
import numpy as np
import pytest
import torch
from parity import Parity, distinct_workloads, errors, scores

from finishline.frameworks.convert import flax_to_torch_state_dict

WORKLOADS = distinct_workloads()
# C++ compilers take up to a minute each; the graphs of all are looked at in another test.
COMPILED = ["criteo1tb", "fastmri", "imagenet_vit"]
BATCH_SIZE = 8
TOLERANCE = {"float32": 1e-4, "float64": 1e-5}
FLOOR = {"float32": 1e-2, "float64": 1e-5}

# PyTorch's compiler warns so of PyTorch itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method")


@pytest.fixture(params=WORKLOADS, scope="module")
def parity(request, data_dir):
    return Parity(WORKLOADS[request.param], data_dir, BATCH_SIZE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
def test_both_frameworks_compute_the_same_function(parity, dtype, train):
    expected = parity.jax_results(dtype, train)
    actual = parity.torch_results(dtype, train)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].shape == value.shape, name
        assert actual[name].dtype == value.dtype == dtype, name
        assert np.isfinite(value).all(), name
    assert np.linalg.norm(expected["logits"]) > 0
    found = errors(actual, expected, FLOOR[dtype])
    worst = max(found, key=found.get)
    assert found[worst] <= TOLERANCE[dtype], (worst, found[worst])


def test_initial_parameters_have_the_same_distribution(parity):
    """Mean and standard deviation of each tensor agree within six standard errors."""
    torch.manual_seed(0)
    draws = max(4, min(32, 40_000 // sum(map(np.size, jax.tree.leaves(parity.initial)))))
    ours, theirs = [], []
    for seed in range(draws):
        variables = parity.draw(seed)
        stats = variables.get("batch_stats", {})
        ours.append(flax_to_torch_state_dict(variables["params"], stats))
        theirs.append(parity.workload.build_model("pytorch").state_dict())
    assert ours[0].keys() == theirs[0].keys()
    for name in ours[0]:
        a = np.stack([state[name] for state in ours]).astype(np.float64)
        b = np.stack([state[name].numpy() for state in theirs]).astype(np.float64)
        scale = max(a.std(), b.std())
        assert abs(a.mean() - b.mean()) <= 6 * scale * np.sqrt(2 / a.size) + 1e-7, name
        # The standard error of a standard deviation is that of the mean times
        # sqrt((kurtosis - 1) / 4), which is at most 0.71 for uniform and normal distributions.
        assert abs(a.std() - b.std()) <= 6 * 0.71 * scale * np.sqrt(2 / a.size) + 1e-7, name
        if a.size >= 1000:  # extremes of fewer numbers scatter widely
            bound = np.abs(a).max()
            assert abs(bound - np.abs(b).max()) <= 0.3 * bound, name


def test_output_layers_exist_in_both_models(parity):
    modules = map(parity.workload.model_module, ("jax", "pytorch"))
    names = {module.Model.output_layer for module in modules}
    assert len(names) == 1
    (name,) = names
    model = parity.workload.build_model("pytorch")
    assert name is None or (name in parity.initial["params"] and hasattr(model, name))


def test_dropout_changes_the_output_only_where_it_is_due(parity):
    """Dropout has an effect in both models or in none, and none in evaluation."""

    def jax_apply(rate, train):
        logits, _ = parity.model.apply(
            parity.variables,
            jax.device_put(parity.batches[False]),
            train=train,
            dropout_rate=rate,
            rngs={"dropout": jax.random.key(3)},
            mutable=["batch_stats"],
        )
        return scores(logits)

    model = parity.torch_model()

    def torch_apply(rate, train):
        with torch.no_grad():
            return scores(model.train(train)(parity.tensors(False), dropout_rate=rate)).numpy()

    has_effect = []
    for function in (jax_apply, torch_apply):
        has_effect.append(not np.allclose(function(0.5, True), function(0.0, True)))
        np.testing.assert_array_equal(function(0.5, False), function(0.0, False))
    assert has_effect[0] == has_effect[1]
    assert has_effect[0] or parity.workload.dropout_rate == 0


@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
def test_the_pytorch_model_is_one_graph(parity, train):
    check_compiled(parity, train, "aot_eager_decomp_partition")


@pytest.mark.slow
@pytest.mark.parametrize("parity", COMPILED, indirect=True)
def test_the_pytorch_model_can_be_compiled(parity):
    check_compiled(parity, True, "inductor")


def check_compiled(parity, train, backend):
    torch.compiler.reset()
    expected = scores(parity.torch_model().train(train)(parity.tensors(train), dropout_rate=0.0))
    compiled = torch.compile(parity.torch_model().train(train), fullgraph=True, backend=backend)
    actual = scores(compiled(parity.tensors(train), dropout_rate=0.0))
    error = torch.linalg.vector_norm(actual - expected) / torch.linalg.vector_norm(expected)
    assert error <= 1e-4
    if train:
        actual.sum().backward()
