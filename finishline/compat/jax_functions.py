"""Functions that JAX has removed, or whose arguments it has renamed, in terms of today's."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

# The worker binds this module's functions under their names.
_clip, _reshape = jnp.clip, jnp.reshape


def clip(
    a: Any = None,
    a_min: Any = None,
    a_max: Any = None,
    *,
    arr: Any = None,
    min: Any = None,
    max: Any = None,
) -> jax.Array:
    """``jax.numpy.clip`` with the arguments that it had before 0.10, and with today's."""
    return _clip(
        arr if a is None else a,
        min=a_min if min is None else min,
        max=a_max if max is None else max,
    )


def reshape(a: Any, newshape: Any = None, *args: Any, **more: Any) -> jax.Array:
    """``jax.numpy.reshape`` with its shape called ``newshape``, as it was before 0.4.36."""
    return _reshape(a, more.pop("shape", newshape), *args, **more)


def in1d(ar1: Any, ar2: Any, **more: Any) -> jax.Array:
    """Which elements of the flattened ``ar1`` are in ``ar2``."""
    return jnp.isin(jnp.ravel(ar1), ar2, **more)


def msort(a: Any) -> jax.Array:
    """``a`` sorted along its first axis."""
    return jnp.sort(a, axis=0)


def device_put_sharded(shards: Sequence[Any], devices: Sequence[jax.Device]) -> Any:
    """The trees ``shards`` stacked along a new first axis, one a device."""
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *shards)
    return jax.device_put(stacked, _over(devices))


def device_put_replicated(tree: Any, devices: Sequence[jax.Device]) -> Any:
    """``tree`` with a new first axis that has a copy for each device."""
    count = len(devices)
    copies = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (count, *np.shape(leaf))), tree)
    return jax.device_put(copies, _over(devices))


def _over(devices: Sequence[jax.Device]) -> NamedSharding:
    return NamedSharding(Mesh(np.asarray(devices), ("devices",)), PartitionSpec("devices"))
