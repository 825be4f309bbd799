"""JAX: models are flax.linen modules, batches are arrays sharded over the local devices."""
