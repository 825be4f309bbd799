"""Speech recognition with LSTMs: AlgoPerf's ``librispeech_deepspeech``, its variants and a mini."""

from collections.abc import Mapping
from typing import Any

from finishline.benchmark import published
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition
from workloads.librispeech.dataset import LIBRISPEECH, LIBRISPEECH_MINI
from workloads.librispeech.scoring import WordErrorScorer

BASE = WorkloadDefinition(
    name="librispeech_deepspeech",
    package="workloads.librispeech_deepspeech",
    task="speech recognition, with recurrent layers",
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
        "num_recurrent": 6,
        "num_feed_forward": 3,
        "num_tokens": LIBRISPEECH.vocab_size,
        "num_freq_masks": 2,
        "max_freq_width": 27,
        "num_time_masks": 10,
        "max_time_share": 0.05,
    },
    mini_model={
        "conv_width": 16,
        "width": 64,
        "num_recurrent": 1,
        "num_feed_forward": 1,
        "num_tokens": LIBRISPEECH_MINI.vocab_size,
        "momentum": 0.9,
        "num_freq_masks": 1,
        "max_freq_width": 8,
        "num_time_masks": 1,
    },
    mini_dataset=LIBRISPEECH_MINI,
    batch_size_name="librispeech_deepspeech",
    **published("librispeech_deepspeech"),
)

# What differs of the model, and of the definition itself.
VARIANTS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "librispeech_deepspeech_tanh": ({"activation": "tanh"}, {}),
    "librispeech_deepspeech_no_resnet": ({"is_residual": False}, {}),
    "librispeech_deepspeech_norm_and_spec_aug": (
        {"has_batch_norm": False, "num_freq_masks": 4, "num_time_masks": 15},
        {"eval_batch_size": 128},
    ),
}

WORKLOADS = (
    BASE,
    *(
        BASE.variant(name, model={**BASE.model, **change}, **other, **published(name))
        for name, (change, other) in VARIANTS.items()
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
