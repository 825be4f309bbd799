"""Convolutions and LSTMs after Deep Speech 2, in PyTorch. ``model_jax`` has the sources."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finishline.frameworks.pytorch.layers import MaskedBatchNorm, dropout
from finishline.frameworks.pytorch.lstm import BidirectionalLSTM
from workloads.librispeech.layers_pytorch import (
    Features,
    LayerNorm,
    SpecAugment,
    Subsampling,
    xavier_uniform_,
)
from workloads.librispeech.layers_pytorch import predict as predict

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh}


class Norm(nn.Module):
    """Batch norm over what is no padding, or layer norm."""

    def __init__(self, width: int, is_batch_norm: bool, momentum: float):
        """Makes one of the two.

        Args:
          width: features of a frame.
          is_batch_norm: which of the two.
          momentum: of batch norm.
        """
        super().__init__()
        self.batch = MaskedBatchNorm(width, decay=momentum) if is_batch_norm else None
        self.layer = None if is_batch_norm else LayerNorm(width)

    def forward(self, x: Tensor, paddings: Tensor) -> Tensor:
        """(batch, frames, width) to the same."""
        if self.batch is not None:
            return self.batch(x, paddings)
        assert self.layer is not None
        return self.layer(x)


class Model(nn.Module):
    """Subsampling, recurrent layers and feed-forward layers, for CTC; see ``model_jax``."""

    output_layer = "output"

    def __init__(
        self,
        conv_width: int,
        width: int,
        num_recurrent: int,
        num_feed_forward: int,
        num_tokens: int,
        num_freq_masks: int,
        max_freq_width: int,
        num_time_masks: int,
        max_time_share: float,
        activation: str = "relu",
        is_residual: bool = True,
        has_batch_norm: bool = True,
        momentum: float = 0.999,
    ):
        """Makes and initialises the layers; for the arguments see ``model_jax``."""
        super().__init__()
        self.num_recurrent = num_recurrent
        self.num_feed_forward = num_feed_forward
        self.is_residual = is_residual
        self.activate = ACTIVATIONS[activation]
        masks = SpecAugment(num_freq_masks, max_freq_width, num_time_masks, max_time_share)
        self.features = Features(masks)
        self.subsampling = Subsampling(conv_width, width, self.activate)
        for index in range(num_recurrent):
            self.add_module(f"recurrent_norm_{index}", Norm(width, has_batch_norm, momentum))
            self.add_module(f"lstm_{index}", BidirectionalLSTM(width, width // 2))
        for index in range(num_feed_forward):
            self.add_module(f"feed_forward_norm_{index}", Norm(width, has_batch_norm, momentum))
            self.add_module(f"feed_forward_{index}", nn.Linear(width, width))
        self.norm = LayerNorm(width) if has_batch_norm else nn.Identity()
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
        x = dropout(x, dropout_rate, self.training)
        for index in range(self.num_recurrent):
            y = getattr(self, f"recurrent_norm_{index}")(x, paddings)
            y = getattr(self, f"lstm_{index}")(y, paddings)
            x = x + y if self.is_residual else y
        for index in range(self.num_feed_forward):
            y = getattr(self, f"feed_forward_norm_{index}")(x, paddings)
            y = self.activate(getattr(self, f"feed_forward_{index}")(y))
            y = dropout(y, dropout_rate, self.training)
            x = x + y if self.is_residual else y
        return self.output(self.norm(x)), paddings
