"""What the speech models have in common, in PyTorch. ``layers_jax`` is the twin."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from finishline.frameworks.pytorch.ctc import greedy_decode
from finishline.spec import ParameterType
from workloads.librispeech import frontend
from workloads.librispeech.features_pytorch import LogMel, spec_augment
from workloads.librispeech.position import frequencies


@torch.no_grad()
def xavier_uniform_(module: nn.Module) -> None:
    """Sets kernels to uniform weights after Glorot and biases to 0; for ``module.apply``."""
    if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class LayerNorm(nn.Module):
    """Layer norm over the features; the scale is kept as its difference from 1."""

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {
        "weight": ParameterType.LAYER_NORM_SCALE,
        "bias": ParameterType.LAYER_NORM_BIAS,
    }

    def __init__(self, width: int):
        """Args: number of features."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., width) to the same."""
        return F.layer_norm(x, x.shape[-1:], 1 + self.weight, self.bias, eps=1e-6)


@dataclasses.dataclass(frozen=True)
class SpecAugment:
    """How many masks SpecAugment draws for an utterance, and how wide they may be."""

    num_freq_masks: int
    max_freq_width: int
    num_time_masks: int
    max_time_share: float


class Features(nn.Module):
    """Normalised log-mel features of a batch of audio, masked at random in training."""

    def __init__(self, masks: SpecAugment):
        """Args: SpecAugment's masks; without any no random bits are drawn."""
        super().__init__()
        self.masks = masks
        self.log_mel = LogMel()

    def forward(self, batch: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """The features of ``batch["inputs"]``, (batch, samples).

        Args:
          batch: ``inputs`` and ``input_lengths``, (batch,).

        Returns:
          (batch, frames, bins) and paddings, (batch, frames): 1 for a frame of padding.
        """
        x, paddings = self.log_mel(batch["inputs"], batch["input_lengths"])
        if self.training and self.masks.num_freq_masks + self.masks.num_time_masks > 0:
            x = spec_augment(x, paddings, **dataclasses.asdict(self.masks))
        return x, paddings


class Subsampling(nn.Module):
    """Two 3 x 3 convolutions with stride 2, then a dense layer: a quarter of the frames is left.

    See the twin for how the frames lie.
    """

    def __init__(
        self, conv_width: int, width: int, activate: Callable[[torch.Tensor], torch.Tensor]
    ):
        """Makes and initialises the layers.

        Args:
          conv_width: channels of the convolutions.
          width: features of a frame.
          activate: the nonlinearity after each convolution.
        """
        super().__init__()
        self.activate = activate
        self.conv_0 = nn.Conv2d(1, conv_width, 3, stride=2)
        self.conv_1 = nn.Conv2d(conv_width, conv_width, 3, stride=2)
        self.out = nn.Linear(frontend.NUM_MELS // 4 * conv_width, width)
        self.apply(xavier_uniform_)

    def forward(self, x: torch.Tensor, paddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, bins) to (batch, frames / 4, width), with paddings for each."""
        x = x.unsqueeze(1)  # (batch, 1, frames, bins)
        for before, conv in enumerate((self.conv_0, self.conv_1)):
            after = 1 if before else 1 + x.shape[2] % 2
            paddings = paddings[:, ::2]
            x = self.activate(conv(F.pad(x, (0, 1, before, after))))
            x = x * (1 - paddings)[:, None, :, None]
        x = x.permute(0, 2, 3, 1).flatten(start_dim=2)  # (batch, frames / 4, bins / 4 * conv_width)
        return self.out(x), paddings


class Positions(nn.Module):
    """The position embedding; it has constants, which move with the module, and no parameters."""

    def __init__(self, width: int):
        """Args: features a position."""
        super().__init__()
        self.frequencies: torch.Tensor
        self.register_buffer("frequencies", torch.tensor(frequencies(width)), persistent=False)

    def forward(self, length: int) -> torch.Tensor:
        """The embedding of each frame: (length, width)."""
        places = torch.arange(length, device=self.frequencies.device)
        angles = places[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


def predict(
    model: nn.Module,
    batch: Mapping[str, torch.Tensor],
    logits: tuple[torch.Tensor, torch.Tensor],
) -> dict[str, torch.Tensor]:
    """The likeliest token of each frame, merged: ``tokens``, (batch, frames), 0 at the end."""
    del model, batch
    return {"tokens": greedy_decode(logits)}
