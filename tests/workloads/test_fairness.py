"""Both frameworks get the same data and train the same model."""

import functools

import jax
import numpy as np
import pytest
import torch
from parity import QUICK_COMPILATION, cast, distinct_workloads

from finishline import spec
from finishline.data.pipeline import training_batches
from finishline.data.shuffle import hash_of_order
from finishline.frameworks.base import create_runtime
from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.seeds import TrialSeeds

WORKLOADS = distinct_workloads()
STEPS = 10
BATCH_SIZE = 8
FIRST_MOVE = 0.005
MOST_APART = 1e-6  # after all steps, as a share of the way that a tensor has gone


def test_the_first_thousand_examples_are_the_same_in_both_frameworks():
    orders = {
        framework: hash_of_order(
            997, TrialSeeds.derive(0, f"nadamw_{framework}", "digits", 0, 1).data, 1000
        )
        for framework in ("jax", "pytorch")
    }
    assert orders["jax"] == orders["pytorch"]
    other_trial = TrialSeeds.derive(0, "nadamw_jax", "digits", 0, 2).data
    assert hash_of_order(997, other_trial, 1000) != orders["jax"]


@pytest.fixture(params=WORKLOADS)
def race(request, data_dir):
    """Both runtimes of a workload with the same weights, and its training data."""
    workload = WORKLOADS[request.param]
    source = workload.open(data_dir, "train")
    counts = {"train": len(source), "validation": 1, "test": 1}
    runtimes = {name: create_runtime(name, workload, counts) for name in ("jax", "pytorch")}
    example = source.gather(np.zeros(1, np.int64))
    params, model_state = runtimes["jax"].init_model(0, example)
    module, _ = runtimes["pytorch"].init_model(0, example)
    arrays = flax_to_torch_state_dict(
        jax.device_get(params), jax.device_get((model_state or {}).get("batch_stats", {}))
    )
    module.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in arrays.items()})
    return source, runtimes, (params, model_state), module


def largest_gradient(runtime, module, batch):
    """The largest entry of the first gradient; leaves no trace in the module."""
    workload = runtime.workload
    logits, _ = workload.model_fn(module, batch, None, spec.ForwardPassMode.TRAIN, None, False, 0.0)
    loss = workload.loss_fn(batch["targets"], logits)
    mean = loss["summed"] / loss["n_valid_examples"]
    return max(float(g.abs().max()) for g in torch.autograd.grad(mean, list(module.parameters())))


def train_jax(runtime, params, model_state, batches, learning_rate):
    workload = runtime.workload

    @functools.partial(jax.jit, compiler_options=QUICK_COMPILATION)
    def step(params, model_state, batch):
        def mean_loss(params):
            logits, state = workload.model_fn(
                params, batch, model_state, spec.ForwardPassMode.TRAIN, None, True, 0.0
            )
            loss = workload.loss_fn(batch["targets"], logits)
            return loss["summed"] / loss["n_valid_examples"], state

        gradient, model_state_ = jax.grad(mean_loss, has_aux=True)(params)
        update = jax.tree.map(lambda p, g: p - learning_rate * g, params, gradient)
        return update, model_state_

    for batch in batches:
        params, model_state = step(params, model_state, batch)
    stats = (model_state or {}).get("batch_stats", {})
    return flax_to_torch_state_dict(jax.device_get(params), jax.device_get(stats))


def train_torch(runtime, module, batches, learning_rate):
    workload = runtime.workload
    optimizer = torch.optim.SGD(module.parameters(), lr=learning_rate)
    for batch in batches:
        optimizer.zero_grad()
        logits, _ = workload.model_fn(
            module, batch, None, spec.ForwardPassMode.TRAIN, None, True, 0.0
        )
        loss = workload.loss_fn(batch["targets"], logits)
        (loss["summed"] / loss["n_valid_examples"]).backward()
        optimizer.step()
    return runtime.snapshot(module, None)


def test_ten_steps_of_sgd_give_the_same_parameters(race):
    """The rate is such that the first step changes some parameter by ``FIRST_MOVE``.

    In double precision: in single, deep networks double the difference of rounding at each step.
    """
    source, runtimes, (params, model_state), module = race
    module.double()
    before = runtimes["pytorch"].snapshot(module, None)
    placed = {}
    for name, runtime in runtimes.items():
        batches = training_batches(source, batch_size=BATCH_SIZE, seed=5)
        taken = [cast(next(batches), "float64") for _ in range(STEPS)]
        batches.close()
        with jax.enable_x64(True):
            placed[name] = list(runtime.place(taken))
    rate = FIRST_MOVE / largest_gradient(runtimes["pytorch"], module, placed["pytorch"][0])
    with jax.enable_x64(True):
        params, model_state = cast(params, "float64"), cast(model_state, "float64")
        in_jax = train_jax(runtimes["jax"], params, model_state, placed["jax"], rate)
    in_pytorch = train_torch(runtimes["pytorch"], module, placed["pytorch"], rate)
    moved = max(np.abs(in_pytorch[name] - before[name]).max() for name in before)
    assert moved > FIRST_MOVE / 2
    paths = {name: array - before[name] for name, array in in_pytorch.items()}
    # Some tensors, such as biases before a normalisation, only move by rounding.
    least = 0.01 * max(np.linalg.norm(path) for path in paths.values())
    for name, path in paths.items():
        apart = np.linalg.norm(np.asarray(in_jax[name]) - in_pytorch[name])
        assert apart <= MOST_APART * max(np.linalg.norm(path), least), name
