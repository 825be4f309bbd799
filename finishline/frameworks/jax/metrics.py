"""Metrics that are sums over examples, in JAX; they are accumulated on the device.

The PyTorch twins are in ``finishline/frameworks/pytorch/metrics.py``.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from finishline.frameworks.jax.losses import compute_loss
from finishline.frameworks.jax.ssim import structural_similarity
from finishline.spec import LossType

Array = jax.Array
Batch = Mapping[str, Array]  # with ``targets`` and ``weights``, 1 for an example, 0 for filling


def accuracy(loss_type: LossType, batch: Batch, logits: Array) -> Array:
    """How many examples have their label at the largest logit; the lowest index wins a tie."""
    del loss_type
    return ((jnp.argmax(logits, axis=-1) == batch["targets"]) * batch["weights"]).sum()


def loss(loss_type: LossType, batch: Batch, logits: Array) -> Array:
    """The summed training loss without label smoothing."""
    return compute_loss(loss_type, batch["targets"], logits, batch["weights"])["summed"]


def ssim(loss_type: LossType, batch: Batch, logits: Array) -> Array:
    """The summed structural similarity of images, (batch, height, width), to their targets.

    Both are brought back from units of ``std`` around ``mean`` first. The range of their values is
    ``volume_max``, and all three are fields of the batch, (batch,).
    """
    del loss_type
    mean, std = (batch[name][:, None, None] for name in ("mean", "std"))
    images, targets = (x * std + mean for x in (logits, batch["targets"]))
    return (structural_similarity(images, targets, batch["volume_max"]) * batch["weights"]).sum()


METRICS: dict[str, Callable[[LossType, Batch, Array], Array]] = {
    "accuracy": accuracy,
    "loss": loss,
    "ssim": ssim,
}


def metric_sums(names: Sequence[str], loss_type: LossType, batch: Batch, logits: Array) -> Array:
    """Sums of the metrics over a batch and, last, the sum of the weights: (len(names) + 1,)."""
    sums = [METRICS[name](loss_type, batch, logits) for name in names]
    return jnp.stack([*sums, batch["weights"].sum()])
