"""WMT: translation from German to English by a Transformer; and its variants.

The split of a row into segments and all of its fields are in ``workloads.wmt.packing``.
"""

from collections.abc import Mapping
from typing import Any

from finishline.benchmark import published
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition
from workloads.wmt.dataset import InventedDataset, TranslationDataset
from workloads.wmt.packing import fields
from workloads.wmt.scorer import bleu_scorer

VOCAB_SIZE, MINI_VOCAB_SIZE = 32_000, 128
MAX_LENGTH, MINI_MAX_LENGTH = 256, 40

DATASET = TranslationDataset(
    name="wmt",
    num_examples={"train": 5_906_184, "validation": 3_000, "test": 3_003},
    fields=fields(MAX_LENGTH),
    origin="by hand: statmt.org, open to all",
    disk_bytes=900_000_000,
    vocab_size=VOCAB_SIZE,
    max_length=MAX_LENGTH,
)

MINI_DATASET = InventedDataset(
    name="wmt_mini",
    num_examples={"train": 16_384, "validation": 128, "test": 128},
    fields=fields(MINI_MAX_LENGTH),
    origin="generated",
    disk_bytes=1_490_000,
    vocab_size=MINI_VOCAB_SIZE,
    max_length=MINI_MAX_LENGTH,
)


BASE = WorkloadDefinition(
    name="wmt",
    package="workloads.wmt",
    task="translation from German to English",
    dataset=DATASET,
    mini_dataset=MINI_DATASET,
    loss_type=LossType.SOFTMAX_CROSS_ENTROPY,
    metrics=("bleu", "loss", "accuracy"),
    scorer=bleu_scorer,
    eval_batch_size=128,
    num_eval_train_examples=3_072,
    dropout_rate=0.1,
    model={
        "vocab_size": VOCAB_SIZE,
        "width": 1024,
        "depth": 6,
        "mlp_width": 1024,
        "num_heads": 16,
        "max_length": MAX_LENGTH,
    },
    mini_model={
        "vocab_size": MINI_VOCAB_SIZE,
        "width": 64,
        "depth": 2,
        "mlp_width": 128,
        "num_heads": 4,
        "max_length": MINI_MAX_LENGTH,
    },
    quirk_models={"packed_shift": {"shifts_rows": True}},
    batch_size_name="wmt",
    **published("wmt"),
)

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "wmt_post_ln": {"is_post_norm": True},
    "wmt_attention_temp": {"query_scale": 4.0},
    "wmt_glu_tanh": {"activation": "tanh", "is_gated": True},
}

WORKLOADS = (
    BASE,
    *(
        BASE.variant(name, model={**BASE.model, **change}, **published(name))
        for name, change in VARIANTS.items()
    ),
    BASE.mini(
        target=Target(metric="bleu", minimize=False, validation=43.9178, test=42.1726),
        max_allowed_runtime_sec=120,
        eval_period_time_sec=3.0,
        step_hint=600,
        eval_batch_size=128,
        num_eval_train_examples=64,
        batch_size_name="mnist",
    ),
)
