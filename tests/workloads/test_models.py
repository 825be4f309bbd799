"""The two models of each workload are one function: same weights, same logits, same gradients."""

import functools

import jax
import numpy as np
import pytest
import torch

from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.frameworks.jax.losses import compute_loss as jax_loss
from finishline.frameworks.pytorch.losses import compute_loss as torch_loss
from finishline.workload import all_workloads

WORKLOADS = all_workloads()
BATCH_SIZE = 8
TOLERANCE = 1e-5

NUM_PARAMETERS = {"digits": 223_690, "mnist": 101_770, "quadratic_deep": 100}


@pytest.fixture(params=WORKLOADS, scope="module")
def workload(request):
    return WORKLOADS[request.param]


@pytest.fixture(scope="module")
def batch(workload, data_dir):
    return workload.dataset.open(data_dir, "train").gather(np.arange(BATCH_SIZE))


@pytest.fixture(scope="module")
def variables(workload, batch):
    """flax variables, with running statistics that differ from their initial values."""
    model = workload.model_module("jax").Model(**workload.model)
    init = jax.jit(functools.partial(model.init, train=False, dropout_rate=0.0))
    variables = init(jax.random.key(0), batch)
    generator = np.random.default_rng(1)
    noisy = jax.tree.map(
        lambda x: x + 0.1 * generator.random(x.shape, np.float32), variables.get("batch_stats", {})
    )
    return {**variables, "batch_stats": noisy}


def jax_results(workload, variables, batch, train):
    """Logits, loss, gradients and new running statistics, with PyTorch's names and layouts."""
    model = workload.model_module("jax").Model(**workload.model)

    def mean_loss(params, batch):
        logits, updated = model.apply(
            variables | {"params": params},
            batch,
            train=train,
            dropout_rate=0.0,
            mutable=["batch_stats"],
        )
        loss = jax_loss(workload.loss_type, batch["targets"], logits)
        return loss["summed"] / loss["n_valid_examples"], (logits, updated)

    results = jax.jit(jax.value_and_grad(mean_loss, has_aux=True))(variables["params"], batch)
    (loss, (logits, updated)), gradients = results
    stats = updated.get("batch_stats", {})
    return {
        "logits": np.asarray(logits),
        "loss": np.asarray(loss),
        **{f"gradient of {k}": v for k, v in flax_to_torch_state_dict(gradients, {}).items()},
        **flax_to_torch_state_dict({}, stats),
    }


def torch_results(workload, variables, batch, train):
    model = workload.model_module("pytorch").Model(**workload.model)
    state = flax_to_torch_state_dict(variables["params"], variables["batch_stats"])
    model.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    model.train(train)
    tensors = {name: torch.tensor(array) for name, array in batch.items()}
    logits = model(tensors, dropout_rate=0.0)
    loss = torch_loss(workload.loss_type, tensors["targets"], logits)
    mean = loss["summed"] / loss["n_valid_examples"]
    mean.backward()
    return {
        "logits": logits.detach().numpy(),
        "loss": mean.detach().numpy(),
        **{f"gradient of {name}": p.grad.numpy() for name, p in model.named_parameters()},
        **{name: b.numpy() for name, b in model.named_buffers() if name in model.state_dict()},
    }


@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
def test_both_frameworks_compute_the_same_function(workload, variables, batch, train):
    expected = jax_results(workload, variables, batch, train)
    actual = torch_results(workload, variables, batch, train)
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name].shape == value.shape
        error = np.linalg.norm(actual[name] - value) / np.linalg.norm(value)
        assert error <= TOLERANCE, (name, error)


def test_parameter_counts_are_exact(workload, variables):
    model = workload.model_module("pytorch").Model(**workload.model)
    count = sum(p.numel() for p in model.parameters())
    assert count == sum(p.size for p in jax.tree.leaves(variables["params"]))
    assert count == NUM_PARAMETERS.get(workload.name, count)  # where a number is published


def test_initial_parameters_have_the_same_distribution(workload, batch):
    """Mean and standard deviation of each tensor agree within six standard errors."""
    jax_model = workload.model_module("jax").Model(**workload.model)
    init = jax.jit(functools.partial(jax_model.init, train=False, dropout_rate=0.0))
    torch_model = workload.model_module("pytorch").Model
    torch.manual_seed(0)
    draws = 4
    ours, theirs = [], []
    for seed in range(draws):
        variables = init(jax.random.key(seed), batch)
        stats = variables.get("batch_stats", {})
        ours.append(flax_to_torch_state_dict(variables["params"], stats))
        theirs.append(torch_model(**workload.model).state_dict())
    for name in ours[0]:
        a = np.stack([state[name] for state in ours])
        b = np.stack([state[name].numpy() for state in theirs])
        bound = 6 * max(a.std(), b.std()) * np.sqrt(2 / a.size) + 1e-7
        assert abs(a.mean() - b.mean()) <= bound, name
        assert abs(a.std() - b.std()) <= bound, name
        assert abs(np.abs(a).max() - np.abs(b).max()) <= 0.3 * np.abs(a).max(), name


def test_output_layers_exist_in_both_models(workload, variables):
    names = {
        workload.model_module(framework).Model.output_layer for framework in ("jax", "pytorch")
    }
    assert len(names) == 1
    (name,) = names
    model = workload.model_module("pytorch").Model(**workload.model)
    assert name is None or (name in variables["params"] and hasattr(model, name))


def test_dropout_changes_the_output_only_where_it_is_due(workload, variables, batch):
    """A workload with a default rate has a dropout site in both models; others have none."""
    model = workload.model_module("jax").Model(**workload.model)

    def apply(rate, train):
        return model.apply(
            variables,
            jax.device_put(batch),
            train=train,
            dropout_rate=rate,
            rngs={"dropout": jax.random.key(3)},
            mutable=["batch_stats"],
        )[0]

    torch_model = workload.model_module("pytorch").Model(**workload.model)
    tensors = {name: torch.tensor(array) for name, array in batch.items()}

    def torch_apply(rate, train):
        return torch_model.train(train)(tensors, dropout_rate=rate).detach().numpy()

    for function in (apply, torch_apply):
        has_effect = not np.allclose(function(0.5, True), function(0.0, True))
        assert has_effect == (workload.dropout_rate > 0)
        np.testing.assert_array_equal(function(0.5, False), function(0.0, False))
