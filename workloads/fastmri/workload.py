"""fastMRI: reconstruction of knees from a quarter of the measurements, with a U-Net."""

import dataclasses

from finishline.benchmark import published
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition
from workloads.fastmri.dataset import FastMRI, Phantoms, fields

SIZE = 320
MINI_SIZE = 32

FASTMRI = WorkloadDefinition(
    name="fastmri",
    package="workloads.fastmri",
    task="reconstruction of magnetic resonance images",
    dataset=FastMRI(
        name="fastmri",
        num_examples={"train": 34_742, "validation": 3_554, "test": 3_581},
        fields=fields(SIZE),
        size=SIZE,
        origin="gated: New York University, on request at fastmri.med.nyu.edu",
        disk_bytes=58_000_000_000,
    ),
    loss_type=LossType.MEAN_ABSOLUTE_ERROR,
    metrics=("ssim", "loss"),
    eval_batch_size=256,
    num_eval_train_examples=3_584,
    model={"num_channels": 32, "num_pools": 4, "activation": "leaky_relu", "norm": "instance"},
    mini_model={"num_channels": 8, "num_pools": 2},
    mini_dataset=Phantoms(
        name="fastmri_mini",
        num_examples={"train": 1024, "validation": 256, "test": 256},
        fields=fields(MINI_SIZE),
        size=MINI_SIZE,
        origin="generated",
        disk_bytes=31_000_000,
    ),
    batch_size_name="fastmri",
    **published("fastmri"),
)


def variant(suffix: str, **overrides: object) -> WorkloadDefinition:
    """The base workload with another model and the target published for it."""
    name = f"{FASTMRI.name}_{suffix}"
    return FASTMRI.variant(name, model={**FASTMRI.model, **overrides}, **published(name))


# Shrunk, too, it is wider by a factor of two and has one pool less.
MODEL_SIZE = dataclasses.replace(
    variant("model_size", num_channels=64, num_pools=3),
    mini_model={"num_channels": 16, "num_pools": 1},
)


WORKLOADS = (
    FASTMRI,
    MODEL_SIZE,
    variant("tanh", activation="tanh"),
    variant("layernorm", norm="layer"),
    FASTMRI.mini(
        target=Target(metric="ssim", minimize=False, validation=0.839544, test=0.861343),
        max_allowed_runtime_sec=120,
        eval_period_time_sec=2.0,
        step_hint=400,
        eval_batch_size=256,
        num_eval_train_examples=256,
        batch_size_name="mnist",
    ),
)
