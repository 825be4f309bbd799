"""Speech recognition with LSTMs: AlgoPerf's ``librispeech_deepspeech``, its variants and a mini."""

from collections.abc import Mapping
from typing import Any

from finishline.benchmark import published
from finishline.workload import Target
from workloads.librispeech.definition import speech_mini, speech_workload

BASE = speech_workload(
    "librispeech_deepspeech",
    "speech recognition, with recurrent layers",
    model={"num_recurrent": 6, "num_feed_forward": 3},
    mini_model={"num_recurrent": 1, "num_feed_forward": 1},
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
    speech_mini(BASE, Target(metric="wer", minimize=True, validation=0.0182292, test=0.0397878)),
)
