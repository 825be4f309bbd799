"""A perceptron with one hidden layer, in flax."""

from collections.abc import Mapping

import jax
from flax import linen as nn


class Model(nn.Module):
    """Linear, sigmoid, linear.

    Attributes:
      width: number of hidden units.
      num_classes: number of logits.
    """

    width: int
    num_classes: int

    output_layer = "output"

    @nn.compact
    def __call__(
        self, batch: Mapping[str, jax.Array], *, train: bool, dropout_rate: float | jax.Array
    ) -> jax.Array:
        """Logits, (batch, num_classes), of ``batch["inputs"]``, (batch, 784)."""
        del train, dropout_rate  # nothing here depends on them
        x = nn.Dense(self.width, name="hidden")(batch["inputs"])
        return nn.Dense(self.num_classes, name="output")(nn.sigmoid(x))
