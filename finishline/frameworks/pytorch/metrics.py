"""Metrics that are sums over examples, in PyTorch; they are accumulated on the device.

The JAX twins are in ``finishline/frameworks/jax/metrics.py``.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from finishline.frameworks.pytorch.losses import compute_loss
from finishline.spec import LossType


def accuracy(loss_type: LossType, labels: Tensor, logits: Tensor, weights: Tensor) -> Tensor:
    """How many examples have their label at the largest logit."""
    del loss_type
    return ((logits.argmax(dim=-1) == labels) * weights).sum()


def loss(loss_type: LossType, labels: Tensor, logits: Tensor, weights: Tensor) -> Tensor:
    """The summed training loss without label smoothing."""
    return compute_loss(loss_type, labels, logits, weights)["summed"]


METRICS: dict[str, Callable[[LossType, Tensor, Tensor, Tensor], Tensor]] = {
    "accuracy": accuracy,
    "loss": loss,
}


def metric_sums(
    names: Sequence[str], loss_type: LossType, labels: Tensor, logits: Tensor, weights: Tensor
) -> Tensor:
    """Sums of the metrics over a batch and, last, the sum of the weights: (len(names) + 1,)."""
    sums = [METRICS[name](loss_type, labels, logits, weights) for name in names]
    return torch.stack([*sums, weights.sum()])
