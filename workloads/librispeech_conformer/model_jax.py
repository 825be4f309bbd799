"""A Conformer, in flax."""

import functools
from collections.abc import Callable, Mapping
from typing import ClassVar

import jax
from flax import linen as nn

from finishline.frameworks.jax.attention import MultiHeadAttention
from finishline.frameworks.jax.layers import MaskedBatchNorm, dropout
from finishline.spec import ParameterType
from workloads.librispeech.layers_jax import (
    LayerNorm,
    SpecAugment,
    Subsampling,
    dense,
    features,
    positions,
    xavier_uniform,
)
from workloads.librispeech.layers_jax import predict as predict

Array = jax.Array
Rate = float | jax.Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "swish": nn.swish,
    "gelu": functools.partial(nn.gelu, approximate=True),  # by tanh
}
LN_2 = 0.6931471805599453


class ScaledAttention(MultiHeadAttention):
    """Attention that scales each feature of its queries by softplus(s) / log 2, s learned.

    All heads share the scales; s is 0 at the start, so that they are 1.
    """

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {
        "query_factor": ParameterType.LAYER_NORM_SCALE
    }

    def setup(self) -> None:
        """Makes the layers and the scales."""
        super().setup()
        head_width = self.width // self.num_heads
        self.query_factor = self.param("query_factor", nn.initializers.zeros, (head_width,))

    def scaled(self, queries: Array) -> Array:
        """See ``MultiHeadAttention.scaled``."""
        return queries * (nn.softplus(self.query_factor) / LN_2)


class FeedForward(nn.Module):
    """Layer norm, then two dense layers with a nonlinearity between, on each frame.

    Attributes:
      width: features of a frame.
      hidden_width: features between the layers.
      activate: the nonlinearity.
    """

    width: int
    hidden_width: int
    activate: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(batch, frames, width) to the same."""
        x = LayerNorm(name="norm")(x)
        x = self.activate(dense(self.hidden_width, "hidden")(x))
        return dense(self.width, "out")(x)


class Convolution(nn.Module):
    """A gated dense layer, a convolution over time of each feature, batch norm, a dense layer.

    Attributes:
      width: features of a frame.
      kernel_size: frames that the convolution sees.
      activate: the nonlinearity after batch norm.
      momentum: of batch norm.
    """

    width: int
    kernel_size: int
    activate: Callable[[Array], Array]
    momentum: float

    @nn.compact
    def __call__(self, x: Array, paddings: Array, *, train: bool) -> Array:
        """(batch, frames, width) to the same."""
        x = LayerNorm(name="norm")(x)
        x = dense(self.width, "value")(x) * nn.sigmoid(dense(self.width, "gate")(x))
        x = x * (1 - paddings)[..., None]
        x = nn.Conv(
            self.width,
            (self.kernel_size,),
            feature_group_count=self.width,
            use_bias=False,
            kernel_init=xavier_uniform,
            name="conv",
        )(x)
        x = MaskedBatchNorm(self.momentum, name="batch_norm")(x, paddings, train=train)
        return dense(self.width, "out")(self.activate(x))


class Block(nn.Module):
    """Half a step of feed-forward, attention, convolution, half a step of feed-forward.

    Attributes:
      width: features of a frame.
      ff_width: hidden features of ``FeedForward``.
      num_heads: heads of the attention.
      kernel_size: see ``Convolution``.
      activation: name of the nonlinearity of all but the subsampling.
      attention_scale: a factor of what the heads gather.
      has_norm: whether layer norm comes last.
      momentum: of batch norm.
    """

    width: int
    ff_width: int
    num_heads: int
    kernel_size: int
    activation: str
    attention_scale: float
    has_norm: bool
    momentum: float

    @nn.compact
    def __call__(self, x: Array, paddings: Array, *, train: bool, dropout_rate: Rate) -> Array:
        """(batch, frames, width) to the same."""
        drop = functools.partial(dropout, self, rate=dropout_rate, train=train)
        activate = ACTIVATIONS[self.activation]
        feed_forward = functools.partial(FeedForward, self.width, self.ff_width, activate)
        attention = ScaledAttention(
            self.width, self.num_heads, output_scale=self.attention_scale, name="attention"
        )
        convolution = Convolution(
            self.width, self.kernel_size, activate, self.momentum, name="convolution"
        )
        x = x + 0.5 * drop(feed_forward(name="feed_forward_0")(x))
        y = LayerNorm(name="attention_norm")(x)
        mask = paddings[:, None, None, :] == 0  # (batch, 1, 1, frames)
        x = x + drop(attention(y, mask=mask))
        x = x + convolution(x, paddings, train=train)
        x = x + 0.5 * drop(feed_forward(name="feed_forward_1")(x))
        return LayerNorm(name="norm")(x) if self.has_norm else x


class Model(nn.Module):
    """A Conformer (Gulati et al., 2020, arXiv:2005.08100) for CTC.

    Unlike the paper's, it has absolute positions and a learned scale of each feature of the
    queries. Dropout is where AlgoPerf 0.5 had it in both frameworks: of the input after positions
    are added, and of what attention and feed-forward add; the later versions' frameworks each have
    other places in addition.

    Attributes:
      conv_width: channels of the convolutions that subsample.
      width: features of a frame.
      ff_width: hidden features of the feed-forward layers.
      num_heads: heads of each attention.
      depth: number of blocks.
      kernel_size: frames that the convolutions in the blocks see.
      num_tokens: number of logits, that of blank at 0 included.
      activation: 'swish' or 'gelu' (by tanh).
      attention_scale: see ``Block``.
      has_block_norm: whether each block ends with layer norm.
      momentum: share of the old running statistics that batch norm keeps.
      num_freq_masks: of SpecAugment; so are those that follow.
      max_freq_width: in bins.
      num_time_masks: an utterance.
      max_time_share: of an utterance's frames.
    """

    conv_width: int
    width: int
    ff_width: int
    num_heads: int
    depth: int
    kernel_size: int
    num_tokens: int
    num_freq_masks: int
    max_freq_width: int
    num_time_masks: int
    max_time_share: float
    activation: str = "swish"
    attention_scale: float = 1.0
    has_block_norm: bool = True
    momentum: float = 0.999

    output_layer = "output"

    @nn.compact
    def __call__(
        self, batch: Mapping[str, Array], *, train: bool, dropout_rate: Rate
    ) -> tuple[Array, Array]:
        """Logits of a batch of audio.

        Args:
          batch: ``inputs``, (batch, samples), and ``input_lengths``, (batch,).
          train: whether there are SpecAugment, dropout and statistics of the batch.
          dropout_rate: see above.

        Returns:
          (batch, frames, num_tokens) and paddings, (batch, frames): 1 for padding. A frame is 40 ms
          of audio.
        """
        masks = SpecAugment(
            self.num_freq_masks, self.max_freq_width, self.num_time_masks, self.max_time_share
        )
        x, paddings = features(self, batch, masks, train=train)
        x, paddings = Subsampling(self.conv_width, self.width, nn.relu, name="subsampling")(
            x, paddings
        )
        x = x + positions(x.shape[1], self.width).astype(x.dtype)
        x = dropout(self, x, dropout_rate, train=train)
        for index in range(self.depth):
            x = Block(
                self.width,
                self.ff_width,
                self.num_heads,
                self.kernel_size,
                self.activation,
                self.attention_scale,
                self.has_block_norm,
                self.momentum,
                name=f"block_{index}",
            )(x, paddings, train=train, dropout_rate=dropout_rate)
        x = LayerNorm(name="norm")(x)
        return dense(self.num_tokens, "output")(x), paddings
