"""DLRM-small and its variant with residual connections, in flax.

Source: Naumov et al., 2019, "Deep learning recommendation model for personalization and
recommendation systems", arXiv:1906.00091.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.nn.initializers import glorot_uniform, normal

from finishline.frameworks.jax.embedding import ShardableEmbedding
from finishline.frameworks.jax.layers import dropout


class Model(nn.Module):
    """A bottom perceptron for the numbers, one table for all categories, and a top perceptron.

    The top perceptron gets the bottom one's output and either the dot products between all
    vectors, embeddings and bottom output, or (``is_residual``) the embeddings themselves. Dropout
    comes after the last hidden layer; in the residual model, as in the reference, before its
    output is added.

    Attributes:
      vocab_size: rows of the table; categories are taken modulo this.
      embed_dim: columns of the table.
      bottom_dims: widths of the bottom layers; the last is ``embed_dim`` if vectors are multiplied.
      top_dims: widths of the hidden top layers.
      embedding_scale: the table is drawn from U[0, embedding_scale); None is
        1 / sqrt(vocab_size).
      use_layer_norm: whether a LayerNorm follows each ReLU and the table.
      is_residual: whether layers are added to their inputs, and nothing is multiplied.
      mesh: devices over which the table is sharded by rows; None keeps it whole on each.
    """

    vocab_size: int
    embed_dim: int
    bottom_dims: tuple[int, ...]
    top_dims: tuple[int, ...]
    embedding_scale: float | None = None
    use_layer_norm: bool = False
    is_residual: bool = False
    mesh: Any = None

    output_layer = "output"
    sharded_parameters = (("embedding_table", "embedding"),)

    @nn.compact
    def __call__(
        self, batch: Mapping[str, jax.Array], *, train: bool, dropout_rate: float | jax.Array
    ) -> jax.Array:
        """Logits, (batch, 1), of ``inputs``, (batch, 13), and ``categories``, (batch, 26)."""
        x = batch["inputs"]
        for index, width in enumerate(self.bottom_dims):
            x = self._hidden(f"bottom_{index}", x, width, glorot_uniform())
        vectors = self._embed(batch["categories"])  # (batch, 26, embed_dim)
        if self.is_residual:
            # (batch, bottom_dims[-1] + 26 * embed_dim)
            x = jnp.concatenate([x, vectors.reshape(len(vectors), -1)], axis=1)
        else:
            x = jnp.concatenate([x, _dot_products(x, vectors)], axis=1)
        last = len(self.top_dims) - 1
        for index, width in enumerate(self.top_dims):
            rate = dropout_rate if index == last else 0.0
            x = self._hidden(f"top_{index}", x, width, _normal_kernel(x, width), rate, train)
        return self._dense("output", x, 1, _normal_kernel(x, 1))  # (batch, 1)

    def _hidden(
        self,
        name: str,
        x: jax.Array,
        width: int,
        kernel_init: Any,
        rate: float | jax.Array = 0.0,
        train: bool = False,
    ) -> jax.Array:
        """A dense layer with ReLU and what the variant adds: (batch, in) to (batch, width)."""
        y = nn.relu(self._dense(name, x, width, kernel_init))
        if self.use_layer_norm:
            y = nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, name=f"{name}_norm")(y)
        y = dropout(self, y, rate, train=train)
        return x + y if self.is_residual and not name.endswith("_0") else y

    def _dense(self, name: str, x: jax.Array, width: int, kernel_init: Any) -> jax.Array:
        bias_init = normal(1 / math.sqrt(width))
        return nn.Dense(width, kernel_init=kernel_init, bias_init=bias_init, name=name)(x)

    def _embed(self, categories: jax.Array) -> jax.Array:
        scale = self.embedding_scale
        table = ShardableEmbedding(
            self.vocab_size,
            self.embed_dim,
            embedding_init=nn.initializers.uniform(
                1 / math.sqrt(self.vocab_size) if scale is None else scale
            ),
            mesh=self.mesh,
            name="embedding_table",
        )
        vectors = table(categories % self.vocab_size)  # (batch, 26, embed_dim)
        if self.use_layer_norm:
            norm = nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, name="embedding_norm")
            vectors = norm(vectors)
        return vectors


def _normal_kernel(x: jax.Array, width: int) -> Any:
    """N(0, 2 / (in + out))."""
    return normal(math.sqrt(2 / (x.shape[-1] + width)))


def _dot_products(bottom: jax.Array, embedded: jax.Array) -> jax.Array:
    """All products of two of the 1 + n vectors, of each with itself, too.

    (batch, dim) and (batch, n, dim) to (batch, (n + 1)(n + 2) / 2), the upper triangle by rows.
    """
    vectors = jnp.concatenate([bottom[:, None], embedded], axis=1)  # (batch, n + 1, dim)
    products = lax.batch_matmul(vectors, vectors.transpose(0, 2, 1))  # (batch, n + 1, n + 1)
    rows, columns = jnp.triu_indices(vectors.shape[1])
    return products[:, rows, columns]
