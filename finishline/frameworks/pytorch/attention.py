"""Multi-head attention in PyTorch. The JAX twin is ``finishline/frameworks/jax/attention.py``.

Source: Vaswani et al., 2017, "Attention is all you need", arXiv:1706.03762, section 3.2.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from finishline.spec import ParameterType


class Projection(nn.Linear):
    """A dense layer of an attention, with a bias of 0 at the start."""

    def __init__(
        self,
        width: int,
        *,
        bias: bool,
        role: ParameterType,
        kernel_init: Callable[[torch.Tensor], Any],
    ):
        """Args: width of input and output, whether there is a bias, the weight's role and start."""
        super().__init__(width, width, bias=bias)
        self.parameter_types = {"weight": role, "bias": ParameterType.ATTENTION_BIAS}
        kernel_init(self.weight)
        if bias:
            nn.init.zeros_(self.bias)


class MultiHeadAttention(nn.Module):
    """softmax(q k^T / sqrt(head width)) v in several heads, between four dense layers.

    The layers ``query``, ``key``, ``value`` and ``out`` have weights of shape (width, width); head
    h has the rows [h * head_width, (h + 1) * head_width) of the first three.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        use_bias: bool = True,
        kernel_init: Callable[[torch.Tensor], Any] = nn.init.xavier_uniform_,
        query_scale: float = 1.0,
        output_scale: float = 1.0,
    ):
        """Makes and initialises the layers; ``module.apply`` of other initialisers undoes that.

        Args:
          width: width of inputs and outputs.
          num_heads: number of heads; divides ``width``.
          use_bias: whether the four layers have biases.
          kernel_init: initialiser of the four weights, in place.
          query_scale: a factor of the queries, an inverse temperature of the softmax.
          output_scale: a factor of what the heads gather.
        """
        super().__init__()
        self.num_heads = num_heads
        self.query_scale = query_scale
        self.output_scale = output_scale

        def project(role: ParameterType) -> Projection:
            return Projection(width, bias=use_bias, role=role, kernel_init=kernel_init)

        self.query = project(ParameterType.ATTENTION_Q)
        self.key = project(ParameterType.ATTENTION_K)
        self.value = project(ParameterType.ATTENTION_V)
        self.out = project(ParameterType.ATTENTION_OUT)

    def forward(
        self,
        inputs_q: torch.Tensor,
        inputs_kv: torch.Tensor | None = None,
        *,
        mask: torch.Tensor | None = None,
        dropout_rate: float = 0.0,
    ) -> torch.Tensor:
        """What each query gathers from the values, (batch, queries, width).

        Args:
          inputs_q: what queries are made of, (batch, queries, width).
          inputs_kv: what keys and values are made of, (batch, keys, width); None is ``inputs_q``.
          mask: True where a query may attend to a key; broadcasts to (batch, heads, queries, keys).
            A query that may attend to nothing gathers 0, to which ``out`` adds its bias.
          dropout_rate: of the attention probabilities, in training.
        """
        k, v = self.keys_and_values(inputs_q if inputs_kv is None else inputs_kv)
        return self.attend(inputs_q, k, v, mask=mask, dropout_rate=dropout_rate)

    def keys_and_values(self, inputs_kv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What ``attend`` takes of (batch, keys, width): each (batch, heads, keys, head width)."""
        return self._split(self.key(inputs_kv)), self._split(self.value(inputs_kv))

    def attend(
        self,
        inputs_q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        *,
        mask: torch.Tensor | None = None,
        dropout_rate: float = 0.0,
    ) -> torch.Tensor:
        """Like ``forward``, with keys and values that may have been kept from earlier calls."""
        x = F.scaled_dot_product_attention(
            self.scaled(self._split(self.query(inputs_q))),
            k,
            v,
            attn_mask=mask,
            dropout_p=dropout_rate if self.training else 0.0,
        )  # (batch, heads, queries, head width)
        x = x.transpose(1, 2).flatten(start_dim=2)  # (batch, queries, width)
        return self.out(x if self.output_scale == 1 else x * self.output_scale)

    def scaled(self, queries: torch.Tensor) -> torch.Tensor:
        """The queries, (batch, heads, queries, head width), as they meet the keys."""
        return queries if self.query_scale == 1 else queries * self.query_scale

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, length, width) to (batch, heads, length, head width)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
