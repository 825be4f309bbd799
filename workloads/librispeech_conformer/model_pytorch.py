"""A Conformer, in PyTorch. ``model_jax`` has the sources and the places of dropout."""

import functools
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finishline.frameworks.pytorch.attention import MultiHeadAttention
from finishline.frameworks.pytorch.layers import MaskedBatchNorm, dropout
from finishline.spec import ParameterType
from workloads.librispeech.layers_pytorch import (
    Features,
    LayerNorm,
    Positions,
    SpecAugment,
    Subsampling,
    xavier_uniform_,
)
from workloads.librispeech.layers_pytorch import predict as predict

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "swish": F.silu,
    "gelu": functools.partial(F.gelu, approximate="tanh"),
}
LN_2 = 0.6931471805599453


class ScaledAttention(MultiHeadAttention):
    """Attention that scales each feature of its queries by softplus(s) / log 2, s learned.

    All heads share the scales; s is 0 at the start, so that they are 1.
    """

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {
        "query_factor": ParameterType.LAYER_NORM_SCALE
    }

    def __init__(self, width: int, num_heads: int, *, output_scale: float):
        """Args: see ``MultiHeadAttention``."""
        super().__init__(width, num_heads, output_scale=output_scale)
        self.query_factor = nn.Parameter(torch.zeros(width // num_heads))

    def scaled(self, queries: Tensor) -> Tensor:
        """See ``MultiHeadAttention.scaled``."""
        return queries * (F.softplus(self.query_factor) / LN_2)


class FeedForward(nn.Module):
    """Layer norm, then two dense layers with a nonlinearity between, on each frame."""

    def __init__(self, width: int, hidden_width: int, activate: Callable[[Tensor], Tensor]):
        """Makes the layers.

        Args:
          width: features of a frame.
          hidden_width: features between the layers.
          activate: the nonlinearity.
        """
        super().__init__()
        self.norm = LayerNorm(width)
        self.hidden = nn.Linear(width, hidden_width)
        self.activate = activate
        self.out = nn.Linear(hidden_width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, width) to the same."""
        return self.out(self.activate(self.hidden(self.norm(x))))


class Convolution(nn.Module):
    """A gated dense layer, a convolution over time of each feature, batch norm, a dense layer."""

    def __init__(
        self,
        width: int,
        kernel_size: int,
        activate: Callable[[Tensor], Tensor],
        momentum: float,
    ):
        """Makes the layers.

        Args:
          width: features of a frame.
          kernel_size: frames that the convolution sees; odd.
          activate: the nonlinearity after batch norm.
          momentum: of batch norm.
        """
        super().__init__()
        self.norm = LayerNorm(width)
        self.value = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        self.conv = nn.Conv1d(
            width, width, kernel_size, padding=kernel_size // 2, groups=width, bias=False
        )
        self.batch_norm = MaskedBatchNorm(width, decay=momentum)
        self.activate = activate
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, paddings: Tensor) -> Tensor:
        """(batch, frames, width) to the same."""
        x = self.norm(x)
        x = self.value(x) * torch.sigmoid(self.gate(x))
        x = x * (1 - paddings).unsqueeze(-1)
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.out(self.activate(self.batch_norm(x, paddings)))


class Block(nn.Module):
    """Half a step of feed-forward, attention, convolution, half a step of feed-forward."""

    def __init__(
        self,
        width: int,
        ff_width: int,
        num_heads: int,
        kernel_size: int,
        activation: str,
        attention_scale: float,
        has_norm: bool,
        momentum: float,
    ):
        """Makes the layers.

        Args:
          width: features of a frame.
          ff_width: hidden features of ``FeedForward``.
          num_heads: heads of the attention.
          kernel_size: see ``Convolution``.
          activation: name of the nonlinearity of all but the subsampling.
          attention_scale: a factor of what the heads gather.
          has_norm: whether layer norm comes last.
          momentum: of batch norm.
        """
        super().__init__()
        activate = ACTIVATIONS[activation]
        self.feed_forward_0 = FeedForward(width, ff_width, activate)
        self.attention_norm = LayerNorm(width)
        self.attention = ScaledAttention(width, num_heads, output_scale=attention_scale)
        self.convolution = Convolution(width, kernel_size, activate, momentum)
        self.feed_forward_1 = FeedForward(width, ff_width, activate)
        self.norm = LayerNorm(width) if has_norm else nn.Identity()

    def forward(self, x: Tensor, paddings: Tensor, *, dropout_rate: float) -> Tensor:
        """(batch, frames, width) to the same."""
        drop = functools.partial(dropout, rate=dropout_rate, training=self.training)
        x = x + 0.5 * drop(self.feed_forward_0(x))
        mask = paddings[:, None, None, :] == 0  # (batch, 1, 1, frames)
        x = x + drop(self.attention(self.attention_norm(x), mask=mask))
        x = x + self.convolution(x, paddings)
        x = x + 0.5 * drop(self.feed_forward_1(x))
        return self.norm(x)


class Model(nn.Module):
    """A Conformer for CTC; see ``model_jax``."""

    output_layer = "output"

    def __init__(
        self,
        conv_width: int,
        width: int,
        ff_width: int,
        num_heads: int,
        depth: int,
        kernel_size: int,
        num_tokens: int,
        num_freq_masks: int,
        max_freq_width: int,
        num_time_masks: int,
        max_time_share: float,
        activation: str = "swish",
        attention_scale: float = 1.0,
        has_block_norm: bool = True,
        momentum: float = 0.999,
    ):
        """Makes and initialises the layers; for the arguments see ``model_jax``."""
        super().__init__()
        self.depth = depth
        masks = SpecAugment(num_freq_masks, max_freq_width, num_time_masks, max_time_share)
        self.features = Features(masks)
        self.subsampling = Subsampling(conv_width, width, F.relu)
        self.positions = Positions(width)
        for index in range(depth):
            block = Block(
                width,
                ff_width,
                num_heads,
                kernel_size,
                activation,
                attention_scale,
                has_block_norm,
                momentum,
            )
            self.add_module(f"block_{index}", block)
        self.norm = LayerNorm(width)
        self.output = nn.Linear(width, num_tokens)
        self.apply(xavier_uniform_)

    def forward(self, batch: Mapping[str, Tensor], *, dropout_rate: float) -> tuple[Tensor, Tensor]:
        """Logits of a batch of audio.

        Args:
          batch: ``inputs``, (batch, samples), and ``input_lengths``, (batch,).
          dropout_rate: in training.

        Returns:
          (batch, frames, num_tokens) and paddings, (batch, frames): 1 for padding. A frame is 40 ms
          of audio.
        """
        x, paddings = self.subsampling(*self.features(batch))
        x = dropout(x + self.positions(x.shape[1]), dropout_rate, self.training)
        for index in range(self.depth):
            x = getattr(self, f"block_{index}")(x, paddings, dropout_rate=dropout_rate)
        return self.output(self.norm(x)), paddings
