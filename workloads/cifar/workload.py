"""CIFAR-10: AlgoPerf's development workload for residual networks, ResNet-18."""

from finishline.benchmark import published
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition
from workloads.cifar.dataset import CifarDataset, MiniCifarDataset

CIFAR = WorkloadDefinition(
    name="cifar",
    package="workloads.cifar",
    task="classification of small photographs",
    dataset=CifarDataset(
        name="cifar10",
        num_examples={"train": 45_000, "validation": 5_000, "test": 10_000},
        origin="open: downloaded from cs.toronto.edu",
        disk_bytes=185_000_000,
    ),
    mini_dataset=MiniCifarDataset(
        name="cifar10_mini",
        num_examples={"train": 4_500, "validation": 500, "test": 500},
        origin="generated",
        disk_bytes=17_000_000,
    ),
    loss_type=LossType.SOFTMAX_CROSS_ENTROPY,
    metrics=("accuracy", "loss"),
    eval_batch_size=1024,
    num_eval_train_examples=5_120,
    model={
        "stage_sizes": (2, 2, 2, 2),
        "width": 64,
        "num_classes": 10,
        "block": "basic",
        "stem": "cifar",
        "activation": "relu",
        "bn_init_scale": 0.0,
    },
    mini_model={"stage_sizes": (1, 1, 1, 1), "width": 8},
    **published("cifar"),
)

WORKLOADS = (
    CIFAR,
    CIFAR.mini(
        target=Target(metric="accuracy", minimize=False, validation=0.98, test=0.972),
        max_allowed_runtime_sec=120,
        eval_period_time_sec=2.0,
        step_hint=400,
        eval_batch_size=500,
        num_eval_train_examples=500,
    ),
)
