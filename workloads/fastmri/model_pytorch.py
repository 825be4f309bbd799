"""The U-Net of fastMRI, in PyTorch; ``model_jax`` has the sources and the choices."""

import functools
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from finishline.frameworks.pytorch.init import lecun_normal_
from finishline.frameworks.pytorch.layers import channel_dropout, channels_first
from finishline.frameworks.pytorch.roles import LAYER_ROLES

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "leaky_relu": functools.partial(F.leaky_relu, negative_slope=0.2),
    "tanh": torch.tanh,
}


class Model(nn.Module):
    """Convolutions on ever smaller images, then on ever larger ones beside those of the way down.

    Args:
      num_channels: channels of the first block; each pooling doubles them.
      num_pools: how often height and width are halved.
      activation: 'leaky_relu' (slope 0.2) or 'tanh'.
      norm: of the convolutions: 'instance', over each channel of an image, or 'layer', over the
        whole image, with a scale and a bias for each channel. Transposed convolutions always have
        instance norm.
    """

    output_layer = "output"

    def __init__(
        self,
        num_channels: int,
        num_pools: int,
        activation: Literal["leaky_relu", "tanh"] = "leaky_relu",
        norm: Literal["instance", "layer"] = "instance",
    ):
        super().__init__()
        self.num_pools = num_pools
        channels_in = 1
        for depth in range(num_pools):
            channels = num_channels * 2**depth
            self.add_module(f"down_{depth}", ConvBlock(channels_in, channels, activation, norm))
            channels_in = channels
        self.bottleneck = ConvBlock(channels_in, 2 * channels_in, activation, norm)
        for depth in reversed(range(num_pools)):
            channels = num_channels * 2**depth
            upsample = UpsampleBlock(2 * channels, channels, activation)
            self.add_module(f"upsample_{depth}", upsample)
            self.add_module(f"up_{depth}", ConvBlock(2 * channels, channels, activation, norm))
        self.output = nn.Conv2d(num_channels, 1, 1)
        self.apply(lecun_normal_)

    def forward(self, batch: Mapping[str, torch.Tensor], *, dropout_rate: float) -> torch.Tensor:
        """The images, (batch, height, width), from ``batch["inputs"]`` of the same shape.

        ``dropout_rate`` is the share of channels that are set to 0 after each activation of a
        ``ConvBlock``.
        """
        x = channels_first(batch["inputs"].unsqueeze(-1))  # (batch, 1, height, width)
        skipped = []
        for depth in range(self.num_pools):
            x = getattr(self, f"down_{depth}")(x, dropout_rate)
            skipped.append(x)
            x = F.avg_pool2d(x, 2)  # (batch, channels, height // 2, width // 2)
        x = self.bottleneck(x, dropout_rate)
        for depth in reversed(range(self.num_pools)):
            x = getattr(self, f"upsample_{depth}")(x)
            x = pad_like(x, skipped[depth])
            x = torch.cat([x, skipped[depth]], dim=1)  # (batch, 2 * channels, height, width)
            x = getattr(self, f"up_{depth}")(x, dropout_rate)
        return self.output(x).squeeze(1)  # (batch, height, width)


class ConvBlock(nn.Module):
    """Twice: 3 x 3 convolution without bias, norm, activation, dropout of whole channels.

    Args:
      channels_in: of the input.
      channels: of the output.
      activation: see ``Model``.
      norm: see ``Model``.
    """

    def __init__(self, channels_in: int, channels: int, activation: str, norm: str):
        super().__init__()
        self.activate = ACTIVATIONS[activation]
        make_norm = ImageNorm if norm == "layer" else instance_norm
        self.conv_0 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.norm_0 = make_norm(channels)
        self.conv_1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm_1 = make_norm(channels)

    def forward(self, x: torch.Tensor, dropout_rate: float) -> torch.Tensor:
        """(batch, in, height, width) to (batch, channels, height, width)."""
        x = self.activate(self.norm_0(self.conv_0(x)))
        x = channel_dropout(x, dropout_rate, self.training)
        x = self.activate(self.norm_1(self.conv_1(x)))
        return channel_dropout(x, dropout_rate, self.training)


class UpsampleBlock(nn.Module):
    """2 x 2 transposed convolution with stride 2 and without bias, instance norm, activation.

    Args:
      channels_in: of the input.
      channels: of the output.
      activation: see ``Model``.
    """

    def __init__(self, channels_in: int, channels: int, activation: str):
        super().__init__()
        self.activate = ACTIVATIONS[activation]
        self.conv = nn.ConvTranspose2d(channels_in, channels, 2, stride=2, bias=False)
        self.norm = instance_norm(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, in, height, width) to (batch, channels, 2 * height, 2 * width)."""
        return self.activate(self.norm(self.conv(x)))


def instance_norm(channels: int) -> nn.InstanceNorm2d:
    """Each channel of each image, (batch, channels, height, width), with mean 0 and variance 1.

    Source: Ulyanov, Vedaldi and Lempitsky, 2016, arXiv:1607.08022.
    """
    return nn.InstanceNorm2d(channels, eps=1e-5)


class ImageNorm(nn.GroupNorm):
    """Norm over height, width and channels, with a scale and a bias for each channel."""

    parameter_types = LAYER_ROLES[nn.LayerNorm]

    def __init__(self, channels: int):
        super().__init__(1, channels, eps=1e-6)


def pad_like(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """``x`` with a last row or column mirrored in where ``other`` has one more.

    Both are (batch, channels, height, width); pooling drops the last row and column of images of
    odd size.
    """
    rows, columns = (b - a for a, b in zip(x.shape[2:], other.shape[2:], strict=True))
    if rows == columns == 0:
        return x
    return F.pad(x, (0, columns, 0, rows), mode="reflect")
