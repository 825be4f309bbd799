"""A decoder-only Transformer, in PyTorch."""

import functools
import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from finishline.frameworks.pytorch.attention import Projection
from finishline.spec import ParameterType
from workloads.finewebedu_lm.rotation import rotation_tables

EPSILON = 1e-6
INIT_STD = 0.02

Rotation = tuple[torch.Tensor, torch.Tensor]  # cosines and sines, (length, head width / 2)


def rms_norm(width: int) -> nn.RMSNorm:
    """x / sqrt(mean(x^2) + epsilon) times a learned scale, over the features."""
    return nn.RMSNorm(width, eps=EPSILON)


def unit(x: torch.Tensor) -> torch.Tensor:
    """x / max(|x|, epsilon) over the last axis."""
    return F.normalize(x, dim=-1, eps=EPSILON)


def rotate(x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """Turns pairs of neighbouring features of ``x``, (batch, heads, length, head width)."""
    cosines, sines = rotation
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    turned = (first * cosines - second * sines, first * sines + second * cosines)
    return torch.stack(turned, dim=-1).flatten(start_dim=-2)


def dense(in_width: int, out_width: int, std: float) -> nn.Linear:
    """A dense layer without biases, with normal weights."""
    layer = nn.Linear(in_width, out_width, bias=False)
    nn.init.normal_(layer.weight, std=std)
    return layer


class CausalAttention(nn.Module):
    """softmax(s q k^T) v over the positions up to a query's own, between four dense layers.

    Queries and keys are rotated by their positions and have length 1; s is a learned number that
    starts at log2(n^2 - n) for sequences of n tokens (Henry et al., 2020, "Query-key normalization
    for Transformers", arXiv:2010.04245, section 3.3).
    """

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {
        "qk_scale": ParameterType.LAYER_NORM_SCALE
    }

    def __init__(self, width: int, num_heads: int, length: int, out_std: float):
        """Makes and initialises the layers.

        Args:
          width: features of a token.
          num_heads: number of heads; divides ``width``.
          length: tokens of a sequence, n above.
          out_std: standard deviation of the initial weights of the last layer.
        """
        super().__init__()
        self.num_heads = num_heads

        def project(role: ParameterType, std: float = INIT_STD) -> Projection:
            init = functools.partial(nn.init.normal_, std=std)
            return Projection(width, bias=False, role=role, kernel_init=init)

        self.query = project(ParameterType.ATTENTION_Q)
        self.key = project(ParameterType.ATTENTION_K)
        self.value = project(ParameterType.ATTENTION_V)
        self.out = project(ParameterType.ATTENTION_OUT, out_std)
        self.qk_scale = nn.Parameter(torch.tensor(math.log2(length**2 - length)))

    def forward(self, x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
        """(batch, length, width) to the same."""
        q = rotate(unit(self._split(self.query(x))), rotation)
        k = rotate(unit(self._split(self.key(x))), rotation)
        v = self._split(self.value(x))
        gathered = F.scaled_dot_product_attention(
            self.qk_scale * q, k, v, is_causal=True, scale=1.0
        )  # (batch, heads, length, head width)
        return self.out(gathered.transpose(1, 2).flatten(start_dim=2))

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, length, width) to (batch, heads, length, head width)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class GatedMLP(nn.Module):
    """Two dense layers with a * sigmoid(b) between, a and b being halves of the first's features.

    Source: Dauphin et al., 2017, "Language modeling with gated convolutional networks",
    arXiv:1612.08083, equation 1.
    """

    def __init__(self, width: int, hidden_width: int, out_std: float):
        """Makes and initialises the layers.

        Args:
          width: features of a token.
          hidden_width: features of a and of b.
          out_std: standard deviation of the initial weights of the last layer.
        """
        super().__init__()
        self.hidden = dense(width, 2 * hidden_width, INIT_STD)
        self.out = dense(hidden_width, width, out_std)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, length, width) to the same."""
        return self.out(F.glu(self.hidden(x), dim=-1))


class Block(nn.Module):
    """Attention among the tokens, then an MLP on each; both are added to their inputs."""

    def __init__(self, width: int, mlp_width: int, num_heads: int, length: int, out_std: float):
        """Makes and initialises the layers.

        Args:
          width: features of a token.
          mlp_width: see ``GatedMLP``.
          num_heads: heads of the attention.
          length: tokens of a sequence.
          out_std: standard deviation of the initial weights of the layers before the sums.
        """
        super().__init__()
        self.attention_norm = rms_norm(width)
        self.attention = CausalAttention(width, num_heads, length, out_std)
        self.mlp_norm = rms_norm(width)
        self.mlp = GatedMLP(width, mlp_width, out_std)

    def forward(self, x: torch.Tensor, rotation: Rotation) -> torch.Tensor:
        """(batch, length, width) to the same."""
        x = x + self.attention(self.attention_norm(x), rotation)
        return x + self.mlp(self.mlp_norm(x))


class Model(nn.Module):
    """A decoder-only Transformer with normalisation before the layers, no biases and no dropout.

    For what is chosen where the reference implementation's frameworks differ see ``model_jax``.
    """

    output_layer = "embedding"

    def __init__(
        self,
        vocab_size: int,
        length: int,
        width: int,
        depth: int,
        mlp_width: int,
        num_heads: int,
        theta: float = 500_000.0,
    ):
        """Makes and initialises the layers.

        Args:
          vocab_size: number of tokens that there are.
          length: the most tokens that a sequence has.
          width: features of a token.
          depth: number of blocks.
          mlp_width: see ``GatedMLP``.
          num_heads: heads of each attention; their width is even.
          theta: see ``rotation_tables``.
        """
        super().__init__()
        self.depth = depth
        self.embedding = nn.Embedding(vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=INIT_STD)
        cosines, sines = map(torch.tensor, rotation_tables(length, width // num_heads, theta))
        self.cosines: torch.Tensor  # (length, head width / 2), as the sines
        self.sines: torch.Tensor
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)
        out_std = INIT_STD / math.sqrt(2 * depth)
        for index in range(depth):
            self.add_module(f"block_{index}", Block(width, mlp_width, num_heads, length, out_std))
        self.norm = rms_norm(width)

    def forward(self, batch: Mapping[str, torch.Tensor], *, dropout_rate: float) -> torch.Tensor:
        """Logits, (batch, length, vocab_size), of the tokens after each of ``batch["inputs"]``.

        The inputs are int32, (batch, length); shorter sequences than the model's will do.
        """
        del dropout_rate
        tokens = batch["inputs"]
        length = tokens.shape[1]
        rotation = self.cosines[:length], self.sines[:length]
        x = self.embedding(tokens)  # (batch, length, width)
        for index in range(self.depth):
            x = getattr(self, f"block_{index}")(x, rotation)
        return F.linear(self.norm(x), self.embedding.weight)
