"""``algoperf.jax_sharding_utils``: how arrays lie on the devices of a trial."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def get_mesh() -> Mesh:
    """All devices, along the axis ``batch``."""
    return Mesh(np.asarray(jax.devices()), ("batch",))


def get_replicate_sharding() -> NamedSharding:
    """All of the array on each device."""
    return NamedSharding(get_mesh(), PartitionSpec())


def get_batch_dim_sharding() -> NamedSharding:
    """The first axis shared out over the devices."""
    return NamedSharding(get_mesh(), PartitionSpec("batch"))


def replicate(tree: Any) -> Any:
    """``tree`` with a copy on each device."""
    return jax.device_put(tree, get_replicate_sharding())


def shard_along_batch_dim(tree: Any) -> Any:
    """``tree`` with the first axis of its leaves shared out over the devices."""
    return jax.device_put(tree, get_batch_dim_sharding())
