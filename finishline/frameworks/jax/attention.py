"""Multi-head attention in flax. The PyTorch twin is ``finishline/frameworks/pytorch/attention.py``.

Source: Vaswani et al., 2017, "Attention is all you need", arXiv:1706.03762, section 3.2.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from finishline.frameworks.jax.layers import dropout
from finishline.spec import ParameterType


class Projection(nn.Dense):
    """A dense layer of an attention.

    Attributes:
      role: the role of the kernel, (in, out).
    """

    role: ParameterType = ParameterType.WEIGHT

    @property
    def parameter_types(self) -> Mapping[str, ParameterType]:
        """The roles of kernel and bias."""
        return {"kernel": self.role, "bias": ParameterType.ATTENTION_BIAS}


class MultiHeadAttention(nn.Module):
    """softmax(q k^T / sqrt(head width)) v in several heads, between four dense layers.

    The layers ``query``, ``key``, ``value`` and ``out`` have kernels of shape (width, width); head
    h has the columns [h * head_width, (h + 1) * head_width) of the first three. Biases are 0 at
    the start.

    Attributes:
      width: width of inputs and outputs.
      num_heads: number of heads; divides ``width``.
      use_bias: whether the four layers have biases.
      kernel_init: initialiser of the four kernels.
      query_scale: a factor of the queries, an inverse temperature of the softmax.
      output_scale: a factor of what the heads gather.
    """

    width: int
    num_heads: int
    use_bias: bool = True
    kernel_init: Callable[..., Any] = nn.initializers.xavier_uniform()
    query_scale: float = 1.0
    output_scale: float = 1.0

    def setup(self) -> None:
        """Makes the four layers."""
        self.query = self._project(ParameterType.ATTENTION_Q)
        self.key = self._project(ParameterType.ATTENTION_K)
        self.value = self._project(ParameterType.ATTENTION_V)
        self.out = self._project(ParameterType.ATTENTION_OUT)

    def __call__(
        self,
        inputs_q: jax.Array,
        inputs_kv: jax.Array | None = None,
        *,
        mask: jax.Array | None = None,
        train: bool = False,
        dropout_rate: float | jax.Array = 0.0,
    ) -> jax.Array:
        """What each query gathers from the values, (batch, queries, width).

        Args:
          inputs_q: what queries are made of, (batch, queries, width).
          inputs_kv: what keys and values are made of, (batch, keys, width); None is ``inputs_q``.
          mask: True where a query may attend to a key; broadcasts to (batch, heads, queries, keys).
            A query that may attend to nothing gathers 0, to which ``out`` adds its bias.
          train: whether there is dropout.
          dropout_rate: of the attention probabilities. The Python number 0 costs nothing.
        """
        k, v = self.keys_and_values(inputs_q if inputs_kv is None else inputs_kv)
        return self.attend(inputs_q, k, v, mask=mask, train=train, dropout_rate=dropout_rate)

    def keys_and_values(self, inputs_kv: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What ``attend`` takes of (batch, keys, width): each (batch, keys, heads, head width)."""
        return self._split(self.key(inputs_kv)), self._split(self.value(inputs_kv))

    def attend(
        self,
        inputs_q: jax.Array,
        k: jax.Array,
        v: jax.Array,
        *,
        mask: jax.Array | None = None,
        train: bool = False,
        dropout_rate: float | jax.Array = 0.0,
    ) -> jax.Array:
        """Like ``__call__``, with keys and values that may have been kept from earlier calls."""
        q = self.scaled(self._split(self.query(inputs_q)))
        rate = dropout_rate if train else 0.0
        # The library's function has no dropout, and its softmax is in float32 in any case.
        if _is_zero(rate) and q.dtype != jnp.float64:
            x = jax.nn.dot_product_attention(q, k, v, mask=mask)
        else:
            x = self._attend_with_dropout(q, k, v, mask, rate)
        if mask is not None:
            can_attend = mask.any(axis=-1, keepdims=True)  # (batch, heads, queries, 1)
            x = jnp.where(can_attend.swapaxes(1, 2), x, 0)  # (batch, queries, heads, head width)
        x = x.reshape(inputs_q.shape)  # (batch, queries, width)
        return self.out(x * self.output_scale)

    def scaled(self, queries: jax.Array) -> jax.Array:
        """The queries, (batch, queries, heads, head width), as they meet the keys."""
        return queries * self.query_scale

    def _project(self, role: ParameterType) -> Projection:
        return Projection(
            self.width,
            use_bias=self.use_bias,
            kernel_init=self.kernel_init,
            role=role,
        )

    def _split(self, x: jax.Array) -> jax.Array:
        """(batch, length, width) to (batch, length, heads, head width)."""
        return x.reshape(*x.shape[:-1], self.num_heads, self.width // self.num_heads)

    def _attend_with_dropout(
        self,
        q: jax.Array,
        k: jax.Array,
        v: jax.Array,
        mask: jax.Array | None,
        dropout_rate: float | jax.Array,
    ) -> jax.Array:
        """``jax.nn.dot_product_attention`` with dropout of the probabilities."""
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
        probabilities = jax.nn.softmax(scores, axis=-1)  # (batch, heads, queries, keys)
        probabilities = dropout(self, probabilities, dropout_rate, train=True)
        return jnp.einsum("bhqk,bkhd->bqhd", probabilities, v)


def _is_zero(rate: float | jax.Array) -> bool:
    return isinstance(rate, int | float) and rate == 0
