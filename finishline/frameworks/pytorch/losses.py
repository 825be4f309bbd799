"""The losses in PyTorch. The JAX twins are in ``finishline/frameworks/jax/losses.py``."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from finishline.frameworks.pytorch import ctc
from finishline.spec import LossType


def softmax_cross_entropy(labels: Tensor, logits: Tensor, label_smoothing: float) -> Tensor:
    """Cross-entropy with the softmax of ``logits`` (..., classes): -sum_k y_k log p_k.

    ``labels`` are class indices (...) or distributions (..., classes). Smoothing with weight a
    makes them (1 - a) y + a / classes (Szegedy et al., 2016, arXiv:1512.00567, section 7).
    """
    if logits.ndim > 2:
        # F.cross_entropy wants the classes in second place: all other axes become one.
        n_classes, shape = logits.shape[-1], logits.shape[:-1]
        is_distribution = labels.ndim == logits.ndim
        flat = labels.reshape(-1, n_classes) if is_distribution else labels.reshape(-1)
        flat_losses = softmax_cross_entropy(flat, logits.reshape(-1, n_classes), label_smoothing)
        return flat_losses.reshape(shape)
    target = labels if labels.ndim == logits.ndim else labels.long()
    return F.cross_entropy(logits, target, reduction="none", label_smoothing=label_smoothing)


def sigmoid_cross_entropy(labels: Tensor, logits: Tensor, label_smoothing: float) -> Tensor:
    """-y log s(z) - (1 - y) log(1 - s(z)) by the task: (batch, tasks), or (batch,) of a single one.

    Each task has two classes, so smoothing with weight a makes its labels (1 - a) y + a / 2.
    """
    labels = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
    losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses.squeeze(1) if losses.shape[1:] == (1,) else losses


def mean_squared_error(labels: Tensor, logits: Tensor, label_smoothing: float) -> Tensor:
    """(z - y)^2, averaged over all axes but the first; label smoothing does not apply."""
    del label_smoothing
    return _mean_but_first((logits - labels).square())


def mean_absolute_error(labels: Tensor, logits: Tensor, label_smoothing: float) -> Tensor:
    """|z - y|, averaged over all axes but the first; label smoothing does not apply."""
    del label_smoothing
    return _mean_but_first((logits - labels).abs())


LOSSES: dict[LossType, Callable[[Tensor, Any, float], Tensor]] = {
    LossType.SOFTMAX_CROSS_ENTROPY: softmax_cross_entropy,
    LossType.SIGMOID_CROSS_ENTROPY: sigmoid_cross_entropy,
    LossType.MEAN_SQUARED_ERROR: mean_squared_error,
    LossType.CTC_LOSS: ctc.ctc_loss,
    LossType.MEAN_ABSOLUTE_ERROR: mean_absolute_error,
}


def compute_loss(
    loss_type: LossType,
    labels: Tensor,
    logits: Any,
    mask: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> dict[str, Tensor]:
    """The loss of a batch: ``summed`` (), ``n_valid_examples`` () and ``per_example`` (batch,).

    Where each part of an example has a loss of its own, such as a token or a task,
    ``per_example`` is (batch, parts), and it is parts that count as valid examples.

    CTC has logits and paddings in ``logits``, see ``ctc``; its valid examples are the tokens of
    ``labels``, while ``per_example`` is that of the whole sequence.

    ``mask`` has the shape of ``per_example``, or is (batch,) for all parts alike; entries of
    weight 0 count neither in the sum nor in the number of valid examples.
    """
    per_example = LOSSES[loss_type](labels, logits, label_smoothing)
    is_ctc = loss_type is LossType.CTC_LOSS
    counts = ctc.num_tokens(labels, logits) if is_ctc else torch.ones_like(per_example)
    if mask is not None:
        mask = mask.reshape(mask.shape + (1,) * (per_example.ndim - mask.ndim))
        per_example, counts = per_example * mask, counts * mask
    return {
        "summed": per_example.sum(),
        "n_valid_examples": counts.sum(),
        "per_example": per_example,
    }


def _mean_but_first(x: Tensor) -> Tensor:
    return x.flatten(start_dim=1).mean(dim=-1) if x.ndim > 1 else x
