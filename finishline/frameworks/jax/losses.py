"""The losses in JAX. The PyTorch twins are in ``finishline/frameworks/pytorch/losses.py``."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from finishline.frameworks.jax import ctc
from finishline.spec import LossType

Array = jax.Array


def softmax_cross_entropy(labels: Array, logits: Array, label_smoothing: float) -> Array:
    """Cross-entropy with the softmax of ``logits`` (..., classes): -sum_k y_k log p_k.

    ``labels`` are class indices (...) or distributions (..., classes). Smoothing with weight a
    makes them (1 - a) y + a / classes (Szegedy et al., 2016, arXiv:1512.00567, section 7).
    """
    if labels.ndim < logits.ndim:
        # Without one-hot labels, which take as much memory as the logits, and most of the time.
        labelled = jnp.take_along_axis(
            logits, labels[..., None].astype(jnp.int32), axis=-1
        ).squeeze(-1)
        smoothed = (1 - label_smoothing) * labelled + label_smoothing * logits.mean(axis=-1)
        return jax.nn.logsumexp(logits, axis=-1) - smoothed
    return optax.softmax_cross_entropy(logits, optax.smooth_labels(labels, label_smoothing))


def sigmoid_cross_entropy(labels: Array, logits: Array, label_smoothing: float) -> Array:
    """-y log s(z) - (1 - y) log(1 - s(z)) by the task: (batch, tasks), or (batch,) of a single one.

    Each task has two classes, so smoothing with weight a makes its labels (1 - a) y + a / 2.
    """
    labels = labels * (1.0 - label_smoothing) + 0.5 * label_smoothing
    losses = optax.sigmoid_binary_cross_entropy(logits, labels)
    return losses.squeeze(axis=1) if losses.shape[1:] == (1,) else losses


def mean_squared_error(labels: Array, logits: Array, label_smoothing: float) -> Array:
    """(z - y)^2, averaged over all axes but the first; label smoothing does not apply."""
    del label_smoothing
    return _mean_but_first(jnp.square(logits - labels))


def mean_absolute_error(labels: Array, logits: Array, label_smoothing: float) -> Array:
    """|z - y|, averaged over all axes but the first; label smoothing does not apply."""
    del label_smoothing
    return _mean_but_first(jnp.abs(logits - labels))


LOSSES: dict[LossType, Callable[[Array, Any, float], Array]] = {
    LossType.SOFTMAX_CROSS_ENTROPY: softmax_cross_entropy,
    LossType.SIGMOID_CROSS_ENTROPY: sigmoid_cross_entropy,
    LossType.MEAN_SQUARED_ERROR: mean_squared_error,
    LossType.CTC_LOSS: ctc.ctc_loss,
    LossType.MEAN_ABSOLUTE_ERROR: mean_absolute_error,
}


def compute_loss(
    loss_type: LossType,
    labels: Array,
    logits: Any,
    mask: Array | None = None,
    label_smoothing: float = 0.0,
) -> dict[str, Array]:
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
    counts = ctc.num_tokens(labels, logits) if is_ctc else jnp.ones_like(per_example)
    if mask is not None:
        mask = mask.reshape(mask.shape + (1,) * (per_example.ndim - mask.ndim))
        per_example, counts = per_example * mask, counts * mask
    return {
        "summed": per_example.sum(),
        "n_valid_examples": counts.sum(),
        "per_example": per_example,
    }


def _mean_but_first(x: Array) -> Array:
    return x.reshape(x.shape[0], -1).mean(axis=-1)
