"""A least-squares problem in NumPy, and its definition as a workload.

The loss is the mean of (k . (s n + t) + b - y)^2 over a batch, where n are the inputs, normalised
over the batch, and y the targets. The parameters are the scale s, the shift t, the kernel k and the
bias b; in a vector they come in this order. Inputs and targets are noise, so the best kernel is 0.
Kernel and noise are so small that learning rates of real workloads get any algorithm near it in a
hundred steps.
"""

import numpy as np

from finishline.data.prepared import ArrayDataset
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition

NUM_INPUTS = 5
BATCH_SIZE = 8
KERNEL = np.linspace(-0.3, 0.5, NUM_INPUTS, dtype=np.float32)
BIAS = np.full(1, 0.3, np.float32)
NOISE = 0.1
EPS = 1e-5
# The initial weights and statistics, as in flax.
PARAMS = {
    "norm": {"scale": np.ones(NUM_INPUTS, np.float32), "bias": np.zeros(NUM_INPUTS, np.float32)},
    "linear": {"kernel": KERNEL[:, None], "bias": BIAS},
}
STATISTICS = {
    "norm": {"mean": np.zeros(NUM_INPUTS, np.float32), "var": np.ones(NUM_INPUTS, np.float32)}
}
# PyTorch's names, in the order of the gradient.
NAMES = ("norm.weight", "norm.bias", "linear.weight", "linear.bias")
NAMES += ("norm.running_mean", "norm.running_var")


def batch(index):
    """The last example of every batch has weight 0; batch norm sees it all the same."""
    generator = np.random.default_rng(index)
    return {
        "inputs": generator.normal(size=(BATCH_SIZE, NUM_INPUTS)).astype(np.float32),
        "targets": generator.normal(scale=NOISE, size=BATCH_SIZE).astype(np.float32),
        "weights": np.array([1.0] * (BATCH_SIZE - 1) + [0.0], np.float32),
    }


def gradient(parameters, index):
    """The gradient at ``parameters``, (16,), of the loss of one batch."""
    scale, shift, kernel, bias = np.split(parameters, np.arange(1, 4) * NUM_INPUTS)
    data = batch(index)
    inputs = data["inputs"].astype(np.float64)
    normalised = (inputs - inputs.mean(axis=0)) / np.sqrt(inputs.var(axis=0) + EPS)
    hidden = scale * normalised + shift  # (batch, inputs)
    error = 2 * data["weights"] * (hidden @ kernel + bias - data["targets"])  # (batch,)
    error /= data["weights"].sum()
    return np.concatenate(
        [error @ normalised * kernel, error.sum() * kernel, error @ hidden, [error.sum()]]
    )


WORKLOAD = WorkloadDefinition(
    name="least_squares",
    package="least_squares",
    # Batches are made one by one.
    dataset=ArrayDataset(
        name="least_squares", num_examples={}, fields={}, make=lambda originals: {}
    ),
    loss_type=LossType.MEAN_SQUARED_ERROR,
    target=Target(metric="loss", minimize=True, validation=0.02, test=0.02),
    metrics=("loss",),
    max_allowed_runtime_sec=60,
    eval_period_time_sec=1.0,
    step_hint=60,
    eval_batch_size=BATCH_SIZE,
    num_eval_train_examples=BATCH_SIZE,
    model={"num_inputs": NUM_INPUTS},
)
