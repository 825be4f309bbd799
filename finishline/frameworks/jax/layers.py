"""Layers that flax has in a form that does not fit."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from finishline.spec import ParameterType


def dropout(
    module: nn.Module,
    x: jax.Array,
    rate: float | jax.Array,
    *,
    train: bool,
    shared_axes: Sequence[int] = (),
) -> jax.Array:
    """Sets each element of ``x`` to 0 with probability ``rate`` and divides the others by 1 - rate.

    Unlike ``nn.Dropout`` it takes the rate at each call, and the rate may be traced.

    Args:
      module: whose random stream 'dropout' is used.
      x: of any shape.
      rate: in [0, 1]. The Python number 0 costs nothing: no random bits are drawn.
      train: False makes this the identity.
      shared_axes: all elements along these axes are kept or dropped together. With those of space,
        whole channels are dropped (Tompson et al., 2015, arXiv:1411.4280, section 3.2).
    """
    if not train or (isinstance(rate, int | float) and rate == 0):
        return x
    keep = 1.0 - jnp.asarray(rate, x.dtype)
    shape = [1 if axis in shared_axes else size for axis, size in enumerate(x.shape)]
    kept = jax.random.bernoulli(module.make_rng("dropout"), keep, shape)
    # A factor, not a choice between x / keep and 0: that has NaN gradients at rate 1.
    return x * jnp.where(kept, 1 / keep, 0)


class MaskedBatchNorm(nn.Module):
    """Batch norm of sequences, (batch, length, channels), over what is no padding.

    The scale is kept as its difference from 1, so that it starts at 0 and weight decay draws it to
    1. Under ``jax.jit`` the statistics are those of the batch of all devices. The twin is in
    ``finishline.frameworks.pytorch.layers``.

    Attributes:
      momentum: share of the old running statistics that is kept.
      epsilon: is added to the variance.
    """

    momentum: float = 0.999
    epsilon: float = 1e-3

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {
        "scale": ParameterType.BATCH_NORM_SCALE,
        "bias": ParameterType.BATCH_NORM_BIAS,
    }

    @nn.compact
    def __call__(self, x: jax.Array, paddings: jax.Array, *, train: bool) -> jax.Array:
        """Normalises each channel of ``x``.

        Args:
          x: (batch, length, channels).
          paddings: (batch, length), 1 for padding and 0 else.
          train: whether the batch's statistics are used; the running ones then change, where the
            collection 'batch_stats' is mutable.

        Returns:
          The shape of ``x``, 0 in padding.
        """
        shape = x.shape[-1:]
        scale = self.param("scale", nn.initializers.zeros, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape)
        is_valid = (1 - paddings).astype(x.dtype)[..., None]  # (batch, length, 1)
        if train:
            count = jnp.maximum(is_valid.sum(), 1)
            mean = (x * is_valid).sum(axis=(0, 1)) / count  # (channels,)
            centred = (x - mean) * is_valid
            variance = jnp.square(centred).sum(axis=(0, 1)) / count
            if self.is_mutable_collection("batch_stats"):
                running_mean.value += (1 - self.momentum) * (mean - running_mean.value)
                running_var.value += (1 - self.momentum) * (variance - running_var.value)
        else:
            centred, variance = (x - running_mean.value) * is_valid, running_var.value
        return centred * (1 + scale) * jax.lax.rsqrt(variance + self.epsilon) + bias * is_valid
