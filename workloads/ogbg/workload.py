"""OGBG: which of 128 assays a molecule is active in, by a graph network; and its variants.

AlgoPerf names the loss of this workload softmax cross-entropy, and trains on what it is called
here: a sigmoid cross-entropy of each task, over the labels that there are. Its label smoothing
takes a label to (1 - a) y + a / 128, as if tasks were classes; here it is (1 - a) y + a / 2.
"""

from typing import Any

from finishline.benchmark import published
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition
from workloads.ogbg.dataset import MadeUpMolecules, MoleculeDataset
from workloads.ogbg.graphs import fields
from workloads.ogbg.scoring import METRIC, PrecisionScorer

NUM_TASKS = 128
MINI_TASKS = 16

OGBG = WorkloadDefinition(
    name="ogbg",
    package="workloads.ogbg",
    task="activity of molecules in bioassays",
    dataset=MoleculeDataset(
        name="ogbg",
        num_examples={"train": 350_343, "validation": 43_793, "test": 43_793},
        fields=fields(NUM_TASKS),
        origin="open: Open Graph Benchmark, ogbg-molpcba at snap.stanford.edu",
        disk_bytes=245_000_000,
        num_tasks=NUM_TASKS,
        nodes_per_graph=26,
        edges_per_graph=56,
    ),
    mini_dataset=MadeUpMolecules(
        name="ogbg_mini",
        num_examples={"train": 4_000, "validation": 1_000, "test": 1_000},
        fields=fields(MINI_TASKS),
        origin="generated",
        disk_bytes=2_000_000,
        num_tasks=MINI_TASKS,
        nodes_per_graph=16,
        edges_per_graph=33,
    ),
    loss_type=LossType.SIGMOID_CROSS_ENTROPY,
    metrics=(METRIC, "loss"),
    scorer=PrecisionScorer,
    eval_batch_size=32_768,
    num_eval_train_examples=43_793,
    dropout_rate=0.1,
    model={
        "latent_dim": 256,
        "hidden_dims": (256,),
        "num_steps": 5,
        "num_outputs": NUM_TASKS,
        "activation": "relu",
    },
    mini_model={"latent_dim": 32, "hidden_dims": (64,), "num_steps": 3, "num_outputs": MINI_TASKS},
    batch_size_name="ogbg",
    **published("ogbg"),
)


def variant(suffix: str, **overrides: Any) -> WorkloadDefinition:
    """The base workload with another model and the target published for it."""
    name = f"{OGBG.name}_{suffix}"
    return OGBG.variant(name, model={**OGBG.model, **overrides}, **published(name))


WORKLOADS = (
    OGBG,
    variant("gelu", activation="gelu"),
    variant("silu", activation="silu"),
    variant("model_size", hidden_dims=(256, 256), latent_dim=128, num_steps=3).variant(
        "ogbg_model_size",
        mini_model={
            "latent_dim": 16,
            "hidden_dims": (32, 32),
            "num_steps": 2,
            "num_outputs": MINI_TASKS,
        },
    ),
    OGBG.mini(
        target=Target(metric=METRIC, minimize=False, validation=0.778587, test=0.761074),
        max_allowed_runtime_sec=120,
        eval_period_time_sec=3.0,
        step_hint=1200,
        eval_batch_size=1_000,
        num_eval_train_examples=1_000,
    ),
)
