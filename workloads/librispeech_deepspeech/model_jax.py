"""Convolutions and LSTMs after Deep Speech 2, in flax."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from finishline.frameworks.jax.layers import MaskedBatchNorm, dropout
from finishline.frameworks.jax.lstm import BidirectionalLSTM
from workloads.librispeech.layers_jax import (
    LayerNorm,
    SpecAugment,
    Subsampling,
    dense,
    features,
)
from workloads.librispeech.layers_jax import predict as predict

Array = jax.Array
Rate = float | jax.Array

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": nn.relu, "tanh": jnp.tanh}


class Norm(nn.Module):
    """Batch norm over what is no padding, or layer norm.

    Attributes:
      is_batch_norm: which of the two.
      momentum: of batch norm.
    """

    is_batch_norm: bool
    momentum: float

    @nn.compact
    def __call__(self, x: Array, paddings: Array, *, train: bool) -> Array:
        """(batch, frames, width) to the same."""
        if self.is_batch_norm:
            return MaskedBatchNorm(self.momentum, name="batch")(x, paddings, train=train)
        return LayerNorm(name="layer")(x)


class Model(nn.Module):
    """Subsampling, recurrent layers and feed-forward layers, for CTC.

    It follows Deep Speech 2 (Amodei et al., 2016, arXiv:1512.02595), with residual sums around the
    layers and LSTMs for its simple recurrent layers. Dropout is of the input and of what the
    feed-forward layers put out.

    Attributes:
      conv_width: channels of the convolutions that subsample.
      width: features of a frame: twice that of an LSTM's state, as there are two directions.
      num_recurrent: recurrent layers: normalisation, then a bidirectional LSTM.
      num_feed_forward: feed-forward layers: normalisation, a dense layer, the nonlinearity.
      num_tokens: number of logits, that of blank at 0 included.
      activation: 'relu' or 'tanh', of the convolutions, too.
      is_residual: whether layers are added to their inputs.
      has_batch_norm: whether normalisation is batch norm, and layer norm only before the logits; or
        else layer norm, and none before the logits.
      momentum: share of the old running statistics that batch norm keeps.
      num_freq_masks: of SpecAugment; so are those that follow.
      max_freq_width: in bins.
      num_time_masks: an utterance.
      max_time_share: of an utterance's frames.
    """

    conv_width: int
    width: int
    num_recurrent: int
    num_feed_forward: int
    num_tokens: int
    num_freq_masks: int
    max_freq_width: int
    num_time_masks: int
    max_time_share: float
    activation: str = "relu"
    is_residual: bool = True
    has_batch_norm: bool = True
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
        activate = ACTIVATIONS[self.activation]
        x, paddings = features(self, batch, masks, train=train)
        x, paddings = Subsampling(self.conv_width, self.width, activate, name="subsampling")(
            x, paddings
        )
        x = dropout(self, x, dropout_rate, train=train)
        for index in range(self.num_recurrent):
            y = self._norm(f"recurrent_norm_{index}")(x, paddings, train=train)
            y = BidirectionalLSTM(self.width // 2, name=f"lstm_{index}")(y, paddings)
            x = x + y if self.is_residual else y
        for index in range(self.num_feed_forward):
            y = self._norm(f"feed_forward_norm_{index}")(x, paddings, train=train)
            y = activate(dense(self.width, f"feed_forward_{index}")(y))
            y = dropout(self, y, dropout_rate, train=train)
            x = x + y if self.is_residual else y
        if self.has_batch_norm:
            x = LayerNorm(name="norm")(x)
        return dense(self.num_tokens, "output")(x), paddings

    def _norm(self, name: str) -> Norm:
        return Norm(self.has_batch_norm, self.momentum, name=name)
