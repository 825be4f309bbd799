"""Metrics that are means over a split, in PyTorch; they are accumulated on the device.

The JAX twins are in ``finishline/frameworks/jax/metrics.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from finishline.frameworks.pytorch.losses import compute_loss
from finishline.frameworks.pytorch.ssim import structural_similarity
from finishline.spec import LossType

# With ``targets`` and ``weights``: 1 for an example, 0 for filling. Where each part of an example
# counts, such as a token, each has a weight.
Batch = Mapping[str, Tensor]
Sums = tuple[Tensor, Tensor]  # of the metric over what counts, and of how much counts: both ()


def accuracy(loss_type: LossType, batch: Batch, logits: Tensor) -> Sums:
    """How many labels are at the largest logit."""
    del loss_type
    is_hit = logits.argmax(dim=-1) == batch["targets"]
    return (is_hit * batch["weights"]).sum(), batch["weights"].sum()


def loss(loss_type: LossType, batch: Batch, logits: Any) -> Sums:
    """The training loss without label smoothing, over what the loss counts as valid."""
    losses = compute_loss(loss_type, batch["targets"], logits, batch["weights"])
    return losses["summed"], losses["n_valid_examples"]


def ssim(loss_type: LossType, batch: Batch, logits: Tensor) -> Sums:
    """The structural similarity of images, (batch, height, width), to their targets.

    Both are brought back from units of ``std`` around ``mean`` first. The range of their values is
    ``volume_max``, and all three are fields of the batch, (batch,).
    """
    del loss_type
    mean, std = (batch[name][:, None, None] for name in ("mean", "std"))
    images, targets = (x * std + mean for x in (logits, batch["targets"]))
    similarities = structural_similarity(images, targets, batch["volume_max"])
    return (similarities * batch["weights"]).sum(), batch["weights"].sum()


METRICS: dict[str, Callable[[LossType, Batch, Tensor], Sums]] = {
    "accuracy": accuracy,
    "loss": loss,
    "ppl": loss,  # its exponential, once the mean is known: see ``finishline/frameworks/means.py``
    "ssim": ssim,
}


def metric_sums(names: Sequence[str], loss_type: LossType, batch: Batch, logits: Any) -> Tensor:
    """Each metric's two sums over a batch: (len(names), 2)."""
    return torch.stack([torch.stack(METRICS[name](loss_type, batch, logits)) for name in names])
