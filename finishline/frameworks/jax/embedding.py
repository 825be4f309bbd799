"""An embedding table that can be sharded by rows over the devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.sharding import PartitionSpec

from finishline.spec import ParameterType


class ShardableEmbedding(nn.Module):
    """A table whose rows are looked up by number; ``nn.Embed`` with a choice of the devices.

    With ``mesh`` each of its N devices holds num_embeddings / N consecutive rows. A lookup gathers
    the numbers of the whole batch, which are small, on each device; each looks up those that it
    holds; and the rows, zero where another device has them, are summed to where their examples
    are. The gradient goes the same way back, and the table is never gathered.

    Attributes:
      num_embeddings: rows; with ``mesh`` a multiple of its devices.
      features: columns.
      embedding_init: initialiser of the table.
      mesh: a ``jax.sharding.Mesh`` with the one axis 'batch', or None for a table on each device.
    """

    num_embeddings: int
    features: int
    embedding_init: Callable[..., jax.Array]
    mesh: Any = None

    parameter_types = {"embedding": ParameterType.EMBEDDING}  # noqa: RUF012, a constant

    @nn.compact
    def __call__(self, ids: jax.Array) -> jax.Array:
        """The rows ``ids`` (batch, ...) of the table: (batch, ..., features)."""
        table = self.param("embedding", self.embedding_init, (self.num_embeddings, self.features))
        if self.mesh is None or ids.shape[0] % self.mesh.size:
            return jnp.take(table, ids, axis=0)
        by_batch = PartitionSpec("batch")
        lookup = jax.shard_map(
            _lookup, mesh=self.mesh, in_specs=(by_batch, by_batch), out_specs=by_batch
        )
        return lookup(table, ids)


def _lookup(rows: jax.Array, ids: jax.Array) -> jax.Array:
    """One device's part: its rows (n, features) and ids (b, ...) to (b, ..., features)."""
    all_ids = lax.all_gather(ids, "batch", tiled=True)  # (batch, ...)
    local = all_ids - lax.axis_index("batch") * len(rows)
    is_here = (local >= 0) & (local < len(rows))
    found = jnp.take(rows, jnp.where(is_here, local, 0), axis=0)  # (batch, ..., features)
    found = jnp.where(is_here[..., None], found, 0)
    return lax.psum_scatter(found, "batch", tiled=True)  # (b, ..., features)
