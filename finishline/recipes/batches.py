"""Batch sizes, and the batch of a step: the two functions that need no framework."""

from collections.abc import Iterator, Mapping
from typing import Any

# Global batch sizes. The small versions have data sets, and machines, that are smaller.
BATCH_SIZES: Mapping[str, int] = {
    "criteo1tb": 262144,
    "criteo1tb_mini": 512,
    "fastmri": 32,
    "finewebedu_lm_mini": 8,
    "finewebedu_lm": 64,
    "imagenet_resnet": 1024,
    "imagenet_vit": 1024,
    "librispeech_conformer": 256,
    "librispeech_deepspeech": 256,
    "mnist": 16,
    "ogbg": 512,
    "quadratic_deep": 128,
    "wmt": 128,
}
_OTHER = 64


def get_batch_size(workload_name: str) -> int:
    """The global batch size; a variant of a workload has that of its base, unknown ones 64."""
    if workload_name in BATCH_SIZES or workload_name.endswith("_mini"):
        return BATCH_SIZES.get(workload_name, _OTHER)
    bases = [name for name in BATCH_SIZES if workload_name.startswith(f"{name}_")]
    return BATCH_SIZES[max(bases, key=len)] if bases else _OTHER


def data_selection(
    workload: Any,
    input_queue: Iterator[Any],
    optimizer_state: Any,
    current_param_container: Any,
    model_state: Any,
    hyperparameters: Any,
    global_step: int,
    rng: Any,
) -> Any:
    """The next batch of the shuffled training set."""
    return next(input_queue)
