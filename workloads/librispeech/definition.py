"""What the workloads of speech recognition have in common, whatever their models."""

from collections.abc import Mapping
from typing import Any

from finishline.benchmark import published
from finishline.spec import LossType
from finishline.workload import Target, WorkloadDefinition
from workloads.librispeech.dataset import LIBRISPEECH, LIBRISPEECH_MINI
from workloads.librispeech.scoring import WordErrorScorer

# Widths and counts of the masks are those of SpecAugment in AlgoPerf.
_MODEL = {
    "conv_width": 512,
    "width": 512,
    "num_tokens": LIBRISPEECH.vocab_size,
    "num_freq_masks": 2,
    "max_freq_width": 27,
    "num_time_masks": 10,
    "max_time_share": 0.05,
}
_MINI_MODEL = {
    "conv_width": 16,
    "width": 64,
    "num_tokens": LIBRISPEECH_MINI.vocab_size,
    "num_freq_masks": 1,
    "max_freq_width": 8,
    "num_time_masks": 1,
    # Running statistics have to settle within 300 steps.
    "momentum": 0.9,
}


def speech_workload(
    name: str, task: str, model: Mapping[str, Any], mini_model: Mapping[str, Any]
) -> WorkloadDefinition:
    """A base workload on LibriSpeech.

    Args:
      name: of the workload and of its package.
      task: what is learnt, in a few words.
      model: arguments of the model that others do not have.
      mini_model: those that make it small.
    """
    return WorkloadDefinition(
        name=name,
        package=f"workloads.{name}",
        task=task,
        dataset=LIBRISPEECH,
        loss_type=LossType.CTC_LOSS,
        metrics=("wer", "loss"),
        scorer=WordErrorScorer,
        eval_batch_size=256,
        num_eval_train_examples=5_376,
        dropout_rate=0.1,
        smooths_labels=False,
        model={**_MODEL, **model},
        mini_model={**_MINI_MODEL, **mini_model},
        mini_dataset=LIBRISPEECH_MINI,
        batch_size_name=name,
        **published(name),
    )


def speech_mini(base: WorkloadDefinition, target: Target) -> WorkloadDefinition:
    """The ``_mini`` of ``base``."""
    return base.mini(
        target=target,
        dropout_rate=0.0,
        max_allowed_runtime_sec=120,
        eval_period_time_sec=1.5,
        step_hint=300,
        eval_batch_size=256,
        num_eval_train_examples=128,
        batch_size_name="mnist",
    )
