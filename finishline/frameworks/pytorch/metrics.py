"""Metrics that are sums over examples, in PyTorch; they are accumulated on the device.

The JAX twins are in ``finishline/frameworks/jax/metrics.py``.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from finishline.frameworks.pytorch.losses import compute_loss
from finishline.frameworks.pytorch.ssim import structural_similarity
from finishline.spec import LossType

Batch = Mapping[str, Tensor]  # with ``targets`` and ``weights``, 1 for an example, 0 for filling


def accuracy(loss_type: LossType, batch: Batch, logits: Tensor) -> Tensor:
    """How many examples have their label at the largest logit."""
    del loss_type
    return ((logits.argmax(dim=-1) == batch["targets"]) * batch["weights"]).sum()


def loss(loss_type: LossType, batch: Batch, logits: Tensor) -> Tensor:
    """The summed training loss without label smoothing."""
    return compute_loss(loss_type, batch["targets"], logits, batch["weights"])["summed"]


def ssim(loss_type: LossType, batch: Batch, logits: Tensor) -> Tensor:
    """The summed structural similarity of images, (batch, height, width), to their targets.

    Both are brought back from units of ``std`` around ``mean`` first. The range of their values is
    ``volume_max``, and all three are fields of the batch, (batch,).
    """
    del loss_type
    mean, std = (batch[name][:, None, None] for name in ("mean", "std"))
    images, targets = (x * std + mean for x in (logits, batch["targets"]))
    return (structural_similarity(images, targets, batch["volume_max"]) * batch["weights"]).sum()


METRICS: dict[str, Callable[[LossType, Batch, Tensor], Tensor]] = {
    "accuracy": accuracy,
    "loss": loss,
    "ssim": ssim,
}


def metric_sums(names: Sequence[str], loss_type: LossType, batch: Batch, logits: Tensor) -> Tensor:
    """Sums of the metrics over a batch and, last, the sum of the weights: (len(names) + 1,)."""
    sums = [METRICS[name](loss_type, batch, logits) for name in names]
    return torch.stack([*sums, batch["weights"].sum()])
