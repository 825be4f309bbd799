"""Speech recognition with a Conformer: AlgoPerf's ``librispeech_conformer``, variants, a mini."""

from collections.abc import Mapping
from typing import Any

from finishline.benchmark import published
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition
from workloads.librispeech.dataset import LIBRISPEECH, LIBRISPEECH_MINI
from workloads.librispeech.scoring import WordErrorScorer

BASE = WorkloadDefinition(
    name="librispeech_conformer",
    package="workloads.librispeech_conformer",
    task="speech recognition, with attention and convolutions",
    dataset=LIBRISPEECH,
    loss_type=LossType.CTC_LOSS,
    metrics=("wer", "loss"),
    scorer=WordErrorScorer,
    eval_batch_size=256,
    num_eval_train_examples=5_376,
    dropout_rate=0.1,
    smooths_labels=False,
    model={
        "conv_width": 512,
        "width": 512,
        "ff_width": 2048,
        "num_heads": 8,
        "depth": 4,
        "kernel_size": 5,
        "num_tokens": LIBRISPEECH.vocab_size,
        "num_freq_masks": 2,
        "max_freq_width": 27,
        "num_time_masks": 10,
        "max_time_share": 0.05,
    },
    mini_model={
        "conv_width": 16,
        "width": 64,
        "ff_width": 128,
        "num_heads": 4,
        "depth": 1,
        "num_tokens": LIBRISPEECH_MINI.vocab_size,
        "momentum": 0.9,
        "num_freq_masks": 1,
        "max_freq_width": 8,
        "num_time_masks": 1,
    },
    mini_dataset=LIBRISPEECH_MINI,
    batch_size_name="librispeech_conformer",
    **published("librispeech_conformer"),
)

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "librispeech_conformer_attention_temperature": {"attention_scale": 1.6},
    "librispeech_conformer_layernorm": {"has_block_norm": False},
    "librispeech_conformer_gelu": {"activation": "gelu"},
}

WORKLOADS = (
    BASE,
    *(
        BASE.variant(name, model={**BASE.model, **change}, **published(name))
        for name, change in VARIANTS.items()
    ),
    BASE.mini(
        target=Target(metric="wer", minimize=True, validation=0.1, test=0.15),
        dropout_rate=0.0,
        max_allowed_runtime_sec=120,
        eval_period_time_sec=3.0,
        step_hint=300,
        eval_batch_size=256,
        num_eval_train_examples=128,
        batch_size_name="mnist",
    ),
)
