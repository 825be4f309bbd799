"""A small convolutional network with batch norm, in flax."""

from collections.abc import Mapping

import jax
from flax import linen as nn

from finishline.frameworks.jax.layers import dropout


class Model(nn.Module):
    """Three 3 x 3 convolutions with batch norm and ReLU, average over space, one linear layer.

    Attributes:
      widths: channels of the three convolutions.
      num_classes: number of logits.
    """

    widths: tuple[int, int, int]
    num_classes: int

    output_layer = "output"

    @nn.compact
    def __call__(
        self, batch: Mapping[str, jax.Array], *, train: bool, dropout_rate: float | jax.Array
    ) -> jax.Array:
        """Logits, (batch, num_classes), of ``batch["inputs"]``, (batch, 8, 8, 1)."""
        x = batch["inputs"]
        for index, width in enumerate(self.widths):
            x = nn.Conv(width, (3, 3), use_bias=False, name=f"conv_{index}")(x)
            x = nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                epsilon=1e-5,
                use_fast_variance=False,
                name=f"norm_{index}",
            )(x)
            x = nn.relu(x)
            if index == 1:
                x = nn.max_pool(x, (2, 2), strides=(2, 2))  # (batch, 4, 4, widths[1])
        x = x.mean(axis=(1, 2))  # (batch, widths[2])
        x = dropout(self, x, dropout_rate, train=train)
        return nn.Dense(self.num_classes, name="output")(x)
