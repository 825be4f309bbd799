"""Layers that flax has in a form that does not fit."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn


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
