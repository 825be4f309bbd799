"""A Vision Transformer, in PyTorch."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from finishline.frameworks.pytorch.attention import MultiHeadAttention
from finishline.frameworks.pytorch.init import lecun_normal_
from finishline.frameworks.pytorch.layers import channels_first, dropout
from finishline.spec import ParameterType
from workloads.imagenet_vit.position import sincos_position_embedding


def layer_norm(width: int) -> nn.LayerNorm:
    """Layer norm over the features with the epsilon of all models here."""
    return nn.LayerNorm(width, eps=1e-6)


def dense(in_width: int, out_width: int) -> nn.Linear:
    """A dense layer of an ``MLP``: uniform weights after Glorot, biases near 0."""
    layer = nn.Linear(in_width, out_width)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.normal_(layer.bias, std=1e-6)
    return layer


class MLP(nn.Module):
    """Two dense layers with a GELU (its tanh form) between, on each token."""

    def __init__(self, width: int, hidden_width: int, is_gated: bool):
        """Makes and initialises the layers.

        Args:
          width: features of a token.
          hidden_width: features between the layers.
          is_gated: whether the hidden features h = GELU(W x + b) are multiplied by V h + c, a gate
            that is computed from them.
        """
        super().__init__()
        self.hidden = dense(width, hidden_width)
        self.gate = dense(hidden_width, hidden_width) if is_gated else None
        self.out = dense(hidden_width, width)

    def forward(self, x: torch.Tensor, *, dropout_rate: float) -> torch.Tensor:
        """(batch, tokens, width) to the same."""
        x = F.gelu(self.hidden(x), approximate="tanh")
        if self.gate is not None:
            x = x * self.gate(x)  # (batch, tokens, hidden_width)
        x = dropout(x, dropout_rate, self.training)
        return self.out(x)


class Block(nn.Module):
    """Attention among the tokens, then an MLP on each; both are added to their inputs."""

    def __init__(
        self, width: int, mlp_width: int, num_heads: int, is_gated: bool, is_post_norm: bool
    ):
        """Makes and initialises the layers.

        Args:
          width: features of a token.
          mlp_width: hidden features of the MLP.
          num_heads: heads of the attention.
          is_gated: see ``MLP``.
          is_post_norm: layer norm comes after each sum, x = norm(x + f(x)), not x = x + f(norm(x)).
        """
        super().__init__()
        self.is_post_norm = is_post_norm
        self.attention = MultiHeadAttention(width, num_heads)
        self.attention_norm = layer_norm(width)
        self.mlp = MLP(width, mlp_width, is_gated)
        self.mlp_norm = layer_norm(width)

    def forward(self, x: torch.Tensor, *, dropout_rate: float) -> torch.Tensor:
        """(batch, tokens, width) to the same."""
        y = self.attention(x if self.is_post_norm else self.attention_norm(x))
        x = x + dropout(y, dropout_rate, self.training)
        if self.is_post_norm:
            x = self.attention_norm(x)
        y = self.mlp(x if self.is_post_norm else self.mlp_norm(x), dropout_rate=dropout_rate)
        x = x + dropout(y, dropout_rate, self.training)
        return self.mlp_norm(x) if self.is_post_norm else x


class AttentionPooling(nn.Module):
    """Gathers the tokens into one by the attention of a learned probe, then adds an MLP of it.

    Source: Zhai et al., 2022, "Scaling vision transformers", arXiv:2106.04560, section 3.2.
    """

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {"probe": ParameterType.WEIGHT}

    def __init__(self, width: int, mlp_width: int, num_heads: int, is_gated: bool):
        """Makes and initialises the layers; for the arguments see ``Block``."""
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, width))
        nn.init.xavier_uniform_(self.probe)
        self.attention = MultiHeadAttention(width, num_heads)
        self.norm = layer_norm(width)
        self.mlp = MLP(width, mlp_width, is_gated)

    def forward(self, x: torch.Tensor, *, dropout_rate: float) -> torch.Tensor:
        """(batch, tokens, width) to (batch, width)."""
        probes = self.probe.expand(x.shape[0], 1, -1)
        x = self.attention(probes, x)
        x = x + self.mlp(self.norm(x), dropout_rate=dropout_rate)
        return x[:, 0]


class Model(nn.Module):
    """ViT (Dosovitskiy et al., 2021, arXiv:2010.11929) with the simplifications of Beyer et al.,
    2022 (arXiv:2205.01580): no class token and a fixed position embedding.

    For the places of dropout and their reasons see ``model_jax``.
    """

    output_layer = "head"

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        width: int,
        depth: int,
        mlp_width: int,
        num_heads: int,
        num_classes: int,
        is_gated: bool = False,
        is_post_norm: bool = False,
        has_attention_pooling: bool = False,
    ):
        """Makes and initialises the layers.

        Args:
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
        super().__init__()
        self.depth = depth
        self.embedding = nn.Conv2d(3, width, patch_size, stride=patch_size)
        lecun_normal_(self.embedding)
        grid = image_size // patch_size
        position = torch.tensor(sincos_position_embedding(grid, grid, width))
        self.position: torch.Tensor  # (tokens, width)
        self.register_buffer("position", position, persistent=False)
        shape = (width, mlp_width, num_heads, is_gated)
        for index in range(depth):
            self.add_module(f"block_{index}", Block(*shape, is_post_norm))
        self.norm = nn.Identity() if is_post_norm else layer_norm(width)
        self.pooling = AttentionPooling(*shape) if has_attention_pooling else None
        self.pre_logits = nn.Linear(width, width)
        lecun_normal_(self.pre_logits)
        self.head = nn.Linear(width, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Mapping[str, torch.Tensor], *, dropout_rate: float) -> torch.Tensor:
        """Logits, (batch, num_classes), of ``batch["inputs"]``, (batch, height, width, 3)."""
        x = self.embedding(channels_first(batch["inputs"]))  # (batch, width, rows, columns)
        x = x.flatten(start_dim=2).transpose(1, 2)  # (batch, tokens, width)
        x = dropout(x + self.position, dropout_rate, self.training)
        for index in range(self.depth):
            x = getattr(self, f"block_{index}")(x, dropout_rate=dropout_rate)
        x = self.norm(x)
        if self.pooling is None:
            x = x.mean(dim=1)  # (batch, width)
        else:
            x = self.pooling(x, dropout_rate=dropout_rate)
        x = torch.tanh(self.pre_logits(x))
        return self.head(x)
