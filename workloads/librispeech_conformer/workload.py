"""Speech recognition with a Conformer: AlgoPerf's ``librispeech_conformer``, variants, a mini."""

from collections.abc import Mapping
from typing import Any

from finishline.benchmark import published
from finishline.workload import Target
from workloads.librispeech.definition import speech_mini, speech_workload

BASE = speech_workload(
    "librispeech_conformer",
    "speech recognition, with attention and convolutions",
    model={"ff_width": 2048, "num_heads": 8, "depth": 4, "kernel_size": 5},
    mini_model={"ff_width": 128, "num_heads": 4, "depth": 1},
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
    speech_mini(BASE, Target(metric="wer", minimize=True, validation=0.0625, test=0.066313)),
)
