"""The noisy quadratic, in flax."""

from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from finishline.spec import ParameterType
from workloads.quadratic_deep import problem


class Model(nn.Module):
    """Quadratic form around each point; its one parameter ``theta`` starts at ones."""

    output_layer: ClassVar[str | None] = None
    parameter_types: ClassVar[Mapping[str, ParameterType]] = {"theta": ParameterType.WEIGHT}

    @nn.compact
    def __call__(
        self, batch: Mapping[str, jax.Array], *, train: bool, dropout_rate: float | jax.Array
    ) -> jax.Array:
        """(theta - x)^T Q (theta - x) / 2, (batch,), of the points x, (batch, 100)."""
        del train, dropout_rate  # nothing here depends on them
        theta = self.param("theta", nn.initializers.ones, (problem.DIMENSION,))
        matrix = jnp.asarray(problem.hessian(), jnp.float32)
        offsets = theta - batch["inputs"]  # (batch, 100)
        # Accelerators would round the factors to fewer bits by default.
        products = jnp.matmul(offsets, matrix, precision=jax.lax.Precision.HIGHEST)
        return 0.5 * (products * offsets).sum(axis=-1)
