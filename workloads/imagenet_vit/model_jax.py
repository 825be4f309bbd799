"""A Vision Transformer, in flax."""

from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from finishline.frameworks.jax.attention import MultiHeadAttention
from finishline.frameworks.jax.layers import dropout
from finishline.spec import ParameterType
from workloads.imagenet_vit.position import sincos_position_embedding

Rate = float | jax.Array


def layer_norm(name: str) -> nn.LayerNorm:
    """Layer norm over the features with the epsilon of all models here."""
    return nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, name=name)


class MLP(nn.Module):
    """Two dense layers with a GELU (its tanh form) between, on each token.

    Attributes:
      width: features of a token.
      hidden_width: features between the layers.
      is_gated: whether the hidden features h = GELU(W x + b) are multiplied by V h + c, a gate
        that is computed from them.
    """

    width: int
    hidden_width: int
    is_gated: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, dropout_rate: Rate) -> jax.Array:
        """(batch, tokens, width) to the same."""
        x = nn.gelu(self._dense(self.hidden_width, "hidden")(x), approximate=True)
        if self.is_gated:
            x = x * self._dense(self.hidden_width, "gate")(x)  # (batch, tokens, hidden_width)
        x = dropout(self, x, dropout_rate, train=train)
        return self._dense(self.width, "out")(x)

    def _dense(self, width: int, name: str) -> nn.Dense:
        return nn.Dense(
            width,
            kernel_init=nn.initializers.xavier_uniform(),
            bias_init=nn.initializers.normal(1e-6),
            name=name,
        )


class Block(nn.Module):
    """Attention among the tokens, then an MLP on each; both are added to their inputs.

    Attributes:
      width: features of a token.
      mlp_width: hidden features of the MLP.
      num_heads: heads of the attention.
      is_gated: see ``MLP``.
      is_post_norm: layer norm comes after each sum, x = norm(x + f(x)), not x = x + f(norm(x)).
    """

    width: int
    mlp_width: int
    num_heads: int
    is_gated: bool
    is_post_norm: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, dropout_rate: Rate) -> jax.Array:
        """(batch, tokens, width) to the same."""
        attention = MultiHeadAttention(self.width, self.num_heads, name="attention")
        norm = layer_norm("attention_norm")
        y = attention(x if self.is_post_norm else norm(x))
        x = x + dropout(self, y, dropout_rate, train=train)
        if self.is_post_norm:
            x = norm(x)
        mlp = MLP(self.width, self.mlp_width, self.is_gated, name="mlp")
        norm = layer_norm("mlp_norm")
        y = mlp(x if self.is_post_norm else norm(x), train=train, dropout_rate=dropout_rate)
        x = x + dropout(self, y, dropout_rate, train=train)
        return norm(x) if self.is_post_norm else x


class AttentionPooling(nn.Module):
    """Gathers the tokens into one by the attention of a learned probe, then adds an MLP of it.

    Source: Zhai et al., 2022, "Scaling vision transformers", arXiv:2106.04560, section 3.2.

    Attributes:
      width: features of a token.
      mlp_width: hidden features of the MLP.
      num_heads: heads of the attention.
      is_gated: see ``MLP``.
    """

    width: int
    mlp_width: int
    num_heads: int
    is_gated: bool

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {"probe": ParameterType.WEIGHT}

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, dropout_rate: Rate) -> jax.Array:
        """(batch, tokens, width) to (batch, width)."""
        probe = self.param("probe", nn.initializers.xavier_uniform(), (1, self.width))
        probes = jnp.broadcast_to(probe, (x.shape[0], 1, self.width))
        x = MultiHeadAttention(self.width, self.num_heads, name="attention")(probes, x)
        mlp = MLP(self.width, self.mlp_width, self.is_gated, name="mlp")
        y = mlp(layer_norm("norm")(x), train=train, dropout_rate=dropout_rate)
        return (x + y)[:, 0]


class Model(nn.Module):
    """ViT (Dosovitskiy et al., 2021, arXiv:2010.11929) with the simplifications of Beyer et al.,
    2022 (arXiv:2205.01580): no class token and a fixed position embedding.

    Dropout is where the ViT paper has it (appendix B.1): after the position embedding is added and,
    in the blocks, after each dense layer but those of query, key and value. The attention
    probabilities have none: of the reference implementation's two frameworks only one drops them.

    Attributes:
      image_size: height and width of the images in pixels.
      patch_size: height and width of a patch; divides ``image_size``.
      width: features of a token.
      depth: number of blocks.
      mlp_width: hidden features of the MLPs.
      num_heads: heads of each attention.
      num_classes: number of logits.
      is_gated: see ``MLP``.
      is_post_norm: see ``Block``; there is no layer norm after the last block then.
      has_attention_pooling: whether ``AttentionPooling`` replaces the mean over the tokens.
    """

    image_size: int
    patch_size: int
    width: int
    depth: int
    mlp_width: int
    num_heads: int
    num_classes: int
    is_gated: bool = False
    is_post_norm: bool = False
    has_attention_pooling: bool = False

    output_layer = "head"

    @nn.compact
    def __call__(
        self, batch: Mapping[str, jax.Array], *, train: bool, dropout_rate: Rate
    ) -> jax.Array:
        """Logits, (batch, num_classes), of ``batch["inputs"]``, (batch, height, width, 3)."""
        patch = (self.patch_size, self.patch_size)
        x = nn.Conv(self.width, patch, strides=patch, padding="VALID", name="embedding")(
            batch["inputs"]
        )
        x = x.reshape(x.shape[0], -1, self.width)  # (batch, tokens, width)
        grid = self.image_size // self.patch_size
        x = x + sincos_position_embedding(grid, grid, self.width).astype(x.dtype)
        x = dropout(self, x, dropout_rate, train=train)
        shape = (self.width, self.mlp_width, self.num_heads, self.is_gated)
        for index in range(self.depth):
            block = Block(*shape, self.is_post_norm, name=f"block_{index}")
            x = block(x, train=train, dropout_rate=dropout_rate)
        if not self.is_post_norm:
            x = layer_norm("norm")(x)
        if self.has_attention_pooling:
            pooling = AttentionPooling(*shape, name="pooling")
            x = pooling(x, train=train, dropout_rate=dropout_rate)
        else:
            x = x.mean(axis=1)  # (batch, width)
        x = jnp.tanh(nn.Dense(self.width, name="pre_logits")(x))
        return nn.Dense(self.num_classes, kernel_init=nn.initializers.zeros, name="head")(x)
