"""A decoder-only Transformer, in flax."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from finishline.frameworks.jax.attention import Projection
from finishline.spec import ParameterType
from workloads.finewebedu_lm.rotation import rotation_tables

EPSILON = 1e-6
INIT_STD = 0.02

Rotation = tuple[jax.Array, jax.Array]  # cosines and sines, (length, 1, head width / 2)


def rms_norm(name: str) -> nn.RMSNorm:
    """x / sqrt(mean(x^2) + epsilon) times a learned scale, over the features."""
    return nn.RMSNorm(epsilon=EPSILON, name=name)


def unit(x: jax.Array) -> jax.Array:
    """x / max(|x|, epsilon) over the last axis; finite gradients at 0, too."""
    return x / optax.safe_norm(x, EPSILON, axis=-1, keepdims=True)


def rotate(x: jax.Array, rotation: Rotation) -> jax.Array:
    """Turns pairs of neighbouring features of ``x``, (batch, length, heads, head width)."""
    cosines, sines = rotation
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    first, second = pairs[..., 0], pairs[..., 1]
    turned = (first * cosines - second * sines, first * sines + second * cosines)
    return jnp.stack(turned, axis=-1).reshape(x.shape)


class CausalAttention(nn.Module):
    """softmax(s q k^T) v over the positions up to a query's own, between four dense layers.

    Queries and keys are rotated by their positions and have length 1; s is a learned number that
    starts at log2(n^2 - n) for sequences of n tokens (Henry et al., 2020, "Query-key normalization
    for Transformers", arXiv:2010.04245, section 3.3).

    Attributes:
      width: features of a token.
      num_heads: number of heads; divides ``width``.
      length: tokens of a sequence, n above.
      out_std: standard deviation of the initial weights of the last layer.
    """

    width: int
    num_heads: int
    length: int
    out_std: float

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {
        "qk_scale": ParameterType.LAYER_NORM_SCALE
    }

    @nn.compact
    def __call__(self, x: jax.Array, rotation: Rotation) -> jax.Array:
        """(batch, length, width) to the same."""
        q = self._split(self._project("query", ParameterType.ATTENTION_Q)(x))
        k = self._split(self._project("key", ParameterType.ATTENTION_K)(x))
        v = self._split(self._project("value", ParameterType.ATTENTION_V)(x))
        start = math.log2(self.length**2 - self.length)
        scale = self.param("qk_scale", nn.initializers.constant(start), ())
        q, k = scale * rotate(unit(q), rotation), rotate(unit(k), rotation)
        # Not jax.nn.dot_product_attention: without cuDNN's kernels, which take half precision
        # alone, it does the same and is slower on the CPU.
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k)
        is_past = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        probabilities = jax.nn.softmax(jnp.where(is_past, scores, -jnp.inf), axis=-1)
        gathered = jnp.einsum("bhqk,bkhd->bqhd", probabilities, v)
        out = self._project("out", ParameterType.ATTENTION_OUT, self.out_std)
        return out(gathered.reshape(x.shape))

    def _project(self, name: str, role: ParameterType, std: float = INIT_STD) -> Projection:
        init = nn.initializers.normal(std)
        return Projection(self.width, use_bias=False, kernel_init=init, role=role, name=name)

    def _split(self, x: jax.Array) -> jax.Array:
        """(batch, length, width) to (batch, length, heads, head width)."""
        return x.reshape(*x.shape[:-1], self.num_heads, self.width // self.num_heads)


class GatedMLP(nn.Module):
    """Two dense layers with a * sigmoid(b) between, a and b being halves of the first's features.

    Source: Dauphin et al., 2017, "Language modeling with gated convolutional networks",
    arXiv:1612.08083, equation 1.

    Attributes:
      width: features of a token.
      hidden_width: features of a and of b.
      out_std: standard deviation of the initial weights of the last layer.
    """

    width: int
    hidden_width: int
    out_std: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, length, width) to the same."""
        x = nn.glu(self._dense(2 * self.hidden_width, "hidden", INIT_STD)(x), axis=-1)
        return self._dense(self.width, "out", self.out_std)(x)

    def _dense(self, width: int, name: str, std: float) -> nn.Dense:
        init = nn.initializers.normal(std)
        return nn.Dense(width, use_bias=False, kernel_init=init, name=name)


class Block(nn.Module):
    """Attention among the tokens, then an MLP on each; both are added to their inputs.

    Attributes:
      width: features of a token.
      mlp_width: see ``GatedMLP``.
      num_heads: heads of the attention.
      length: tokens of a sequence.
      out_std: standard deviation of the initial weights of the layers before the sums.
    """

    width: int
    mlp_width: int
    num_heads: int
    length: int
    out_std: float

    @nn.compact
    def __call__(self, x: jax.Array, rotation: Rotation) -> jax.Array:
        """(batch, length, width) to the same."""
        attention = CausalAttention(
            self.width, self.num_heads, self.length, self.out_std, name="attention"
        )
        x = x + attention(rms_norm("attention_norm")(x), rotation)
        mlp = GatedMLP(self.width, self.mlp_width, self.out_std, name="mlp")
        return x + mlp(rms_norm("mlp_norm")(x))


class Model(nn.Module):
    """A decoder-only Transformer with normalisation before the layers, no biases and no dropout.

    The table of the embedding is also that of the logits. Weights start normal with a standard
    deviation of 0.02, those before the 2 depth sums with 0.02 / sqrt(2 depth).

    Queries and keys are divided by max(|x|, 1e-6). Of the reference implementation's frameworks one
    adds 1e-6 to |x| and the other to each feature of x / |x|; for vectors of ordinary length all
    three are the same to rounding. The rate of dropout is ignored there, too.

    Attributes:
      vocab_size: number of tokens that there are.
      length: the most tokens that a sequence has.
      width: features of a token.
      depth: number of blocks.
      mlp_width: see ``GatedMLP``.
      num_heads: heads of each attention; their width is even.
      theta: see ``rotation_tables``.
    """

    vocab_size: int
    length: int
    width: int
    depth: int
    mlp_width: int
    num_heads: int
    theta: float = 500_000.0

    output_layer = "embedding"

    @nn.compact
    def __call__(
        self, batch: Mapping[str, jax.Array], *, train: bool, dropout_rate: Any
    ) -> jax.Array:
        """Logits, (batch, length, vocab_size), of the tokens after each of ``batch["inputs"]``.

        The inputs are int32, (batch, length); shorter sequences than the model's will do.
        """
        del train, dropout_rate
        tokens = batch["inputs"]
        embedding = nn.Embed(
            self.vocab_size,
            self.width,
            embedding_init=nn.initializers.normal(INIT_STD),
            name="embedding",
        )
        x = embedding(tokens)  # (batch, length, width)
        tables = rotation_tables(self.length, self.width // self.num_heads, self.theta)
        cosines, sines = (jnp.asarray(table[: tokens.shape[1], None], x.dtype) for table in tables)
        out_std = INIT_STD / math.sqrt(2 * self.depth)
        shape = (self.width, self.mlp_width, self.num_heads, self.length, out_std)
        for index in range(self.depth):
            x = Block(*shape, name=f"block_{index}")(x, (cosines, sines))
        return embedding.attend(rms_norm("norm")(x))
