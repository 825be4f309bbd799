"""The noisy quadratic problem of DeepOBS, P1: 100 parameters, condition number 9,621.

The loss of a point x is (theta - x)^T Q (theta - x) / 2. Over all points that could be drawn its
mean is at least trace(Q) * 0.36 / 2 = 85.97. Over those that were drawn it is least at their own
mean: 84.770 in training, 85.536 in validation, 86.941 in test. At the mean of the training points,
to which training leads, it is 85.611 in validation and 87.129 in test.

DeepOBS has training and test points; the validation points are ours, drawn in the same way from the
next seed. DeepOBS drops the last incomplete batch when it evaluates, so its published values are
means over 896 test points, and ours over all 1,000: 87.129 against 87.046 at the training mean.

Source: Schneider, Balles and Hennig, 2019, "DeepOBS: A Deep Learning Optimizer Benchmark Suite",
arXiv:1903.05499.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from finishline.data.prepared import ArrayDataset, Field
from finishline.spec import LossType
from finishline.workload import SPLITS, Target, WorkloadDefinition
from workloads.quadratic_deep import problem


def make(originals: Path) -> Mapping[str, Mapping[str, np.ndarray]]:
    """The three splits: ``inputs`` (float32, (100,)) and ``targets`` (float32, (), all 0)."""
    del originals  # generated
    targets = np.zeros(problem.NUM_POINTS, np.float32)
    return {split: {"inputs": problem.points(split), "targets": targets} for split in SPLITS}


WORKLOADS = (
    WorkloadDefinition(
        name="quadratic_deep",
        package="workloads.quadratic_deep",
        task="noisy 100-dimensional quadratic of DeepOBS",
        dataset=ArrayDataset(
            name="quadratic_deep",
            num_examples=dict.fromkeys(SPLITS, problem.NUM_POINTS),
            fields={"inputs": Field((100,), "float32"), "targets": Field((), "float32")},
            make=make,
            origin="generated",
            disk_bytes=1_240_000,
        ),
        # The model's outputs are losses, and all are positive: their mean is the distance to 0.
        loss_type=LossType.MEAN_ABSOLUTE_ERROR,
        # See docs/targets/quadratic_deep.md.
        target=Target(metric="loss", minimize=True, validation=85.6214, test=87.1384),
        metrics=("loss",),
        max_allowed_runtime_sec=120,
        eval_period_time_sec=0.5,
        step_hint=60_000,
        eval_batch_size=1000,
        num_eval_train_examples=1000,
        is_embedded=True,
    ),
)
