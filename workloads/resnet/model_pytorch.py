"""Residual networks with batch norm, in PyTorch; ``model_jax`` has the sources."""

import collections
import functools
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from finishline.frameworks.pytorch.init import lecun_normal_
from finishline.frameworks.pytorch.layers import BatchNorm2d, channels_first
from finishline.frameworks.pytorch.roles import LAYER_ROLES

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": F.relu,
    "silu": F.silu,
    "gelu": functools.partial(F.gelu, approximate="tanh"),
}
BOTTLENECK_EXPANSION = 4


class Model(nn.Module):
    """A stem, four stages of residual blocks, average over space, one linear layer.

    Args:
      stage_sizes: blocks by stage. Stages but the first halve height and width.
      width: channels of the stem and of the first stage; each stage has twice those of the one
        before. Bottleneck blocks put out four times as many.
      num_classes: number of logits.
      block: 'bottleneck' (1 x 1, 3 x 3, 1 x 1) or 'basic' (3 x 3, 3 x 3).
      stem: 'imagenet' (7 x 7 with stride 2, then max pooling with stride 2) or 'cifar' (3 x 3).
      activation: 'relu', 'silu' or 'gelu' (with tanh).
      bn_init_scale: initial scale of the last batch norm of each block.
      same_padding: whether 3 x 3 convolutions with stride 2 pad as flax's 'SAME' does; see the
        model in JAX.
    """

    output_layer = "output"

    def __init__(
        self,
        stage_sizes: tuple[int, int, int, int],
        width: int,
        num_classes: int,
        block: Literal["bottleneck", "basic"],
        stem: Literal["imagenet", "cifar"],
        activation: str = "relu",
        bn_init_scale: float = 0.0,
        same_padding: bool = False,
    ):
        super().__init__()
        is_imagenet = stem == "imagenet"
        self.activate = ACTIVATIONS[activation]
        self.stem_conv = conv(3, width, 7, stride=2) if is_imagenet else conv(3, width, 3)
        self.stem_norm = BatchNorm2d(width)
        self.stem_pool = nn.MaxPool2d(3, stride=2, padding=1) if is_imagenet else nn.Identity()
        block_class = BottleneckBlock if block == "bottleneck" else BasicBlock
        width_in = width
        stages = []
        for stage, num_blocks in enumerate(stage_sizes):
            blocks: collections.OrderedDict[str, nn.Module] = collections.OrderedDict()
            for index in range(num_blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                built = block_class(
                    width_in, width * 2**stage, stride, activation, bn_init_scale, same_padding
                )
                blocks[f"block_{index}"] = built
                width_in = built.width_out
            stages.append(nn.Sequential(blocks))
        self.stage_0, self.stage_1, self.stage_2, self.stage_3 = stages
        self.output = nn.Linear(width_in, num_classes)
        self.apply(lecun_normal_)
        nn.init.normal_(self.output.weight, std=0.01)

    def forward(self, batch: Mapping[str, torch.Tensor], *, dropout_rate: float) -> torch.Tensor:
        """Logits, (batch, num_classes), of ``batch["inputs"]``, (batch, height, width, 3)."""
        del dropout_rate  # there is no dropout
        x = channels_first(batch["inputs"])  # (batch, 3, height, width)
        x = self.activate(self.stem_norm(self.stem_conv(x)))
        x = self.stem_pool(x)  # with stem 'imagenet': (batch, width of the stem, height / 4, ...)
        x = self.stage_0(x)
        x = self.stage_1(x)
        x = self.stage_2(x)
        x = self.stage_3(x)
        x = x.mean(dim=(2, 3))  # (batch, channels of the last stage)
        return self.output(x)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut.

    Args:
      width_in: channels of the input.
      width: channels of each convolution.
      stride: of the first convolution.
      activation: name of the nonlinearity.
      bn_init_scale: initial scale of the last batch norm.
      same_padding: see ``Model``.
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        stride: int,
        activation: str,
        bn_init_scale: float,
        same_padding: bool,
    ):
        super().__init__()
        self.width_out = width
        self.activate = ACTIVATIONS[activation]
        self.conv_0 = conv(width_in, width, 3, stride, same_padding=same_padding)
        self.norm_0 = BatchNorm2d(width)
        self.conv_1 = conv(width, width, 3)
        self.norm_1 = BatchNorm2d(width)
        nn.init.constant_(self.norm_1.weight, bn_init_scale)
        self.shortcut_conv, self.shortcut_norm = shortcut(width_in, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, in, height, width) to (batch, out, height / stride, width / stride)."""
        y = self.activate(self.norm_0(self.conv_0(x)))
        y = self.norm_1(self.conv_1(y))
        return self.activate(self.shortcut_norm(self.shortcut_conv(x)) + y)


class BottleneckBlock(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut.

    Args:
      width_in: channels of the input.
      width: channels of the first two convolutions; the last one has four times as many.
      stride: of the 3 x 3 convolution.
      activation: name of the nonlinearity.
      bn_init_scale: initial scale of the last batch norm.
      same_padding: see ``Model``.
    """

    def __init__(
        self,
        width_in: int,
        width: int,
        stride: int,
        activation: str,
        bn_init_scale: float,
        same_padding: bool,
    ):
        super().__init__()
        self.width_out = BOTTLENECK_EXPANSION * width
        self.activate = ACTIVATIONS[activation]
        self.conv_0 = conv(width_in, width, 1)
        self.norm_0 = BatchNorm2d(width)
        self.conv_1 = conv(width, width, 3, stride, same_padding=same_padding)
        self.norm_1 = BatchNorm2d(width)
        self.conv_2 = conv(width, self.width_out, 1)
        self.norm_2 = BatchNorm2d(self.width_out)
        nn.init.constant_(self.norm_2.weight, bn_init_scale)
        self.shortcut_conv, self.shortcut_norm = shortcut(width_in, self.width_out, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, in, height, width) to (batch, out, height / stride, width / stride)."""
        y = self.activate(self.norm_0(self.conv_0(x)))
        y = self.activate(self.norm_1(self.conv_1(y)))
        y = self.norm_2(self.conv_2(y))
        return self.activate(self.shortcut_norm(self.shortcut_conv(x)) + y)


def shortcut(width_in: int, width_out: int, stride: int) -> tuple[nn.Module, nn.Module]:
    """The identity if the block keeps its shape, else a 1 x 1 convolution with batch norm."""
    if stride == 1 and width_in == width_out:
        return nn.Identity(), nn.Identity()
    return conv(width_in, width_out, 1, stride), BatchNorm2d(width_out)


def conv(
    width_in: int, width_out: int, kernel: int, stride: int = 1, *, same_padding: bool = False
) -> nn.Conv2d:
    """A square convolution without bias, with padding by half the kernel or flax's 'SAME'."""
    if same_padding and stride > 1:
        return SameConv2d(width_in, width_out, kernel, stride, bias=False)
    return nn.Conv2d(width_in, width_out, kernel, stride, padding=kernel // 2, bias=False)


class SameConv2d(nn.Conv2d):
    """A 3 x 3 convolution with stride 2 that pads as flax's 'SAME'."""

    parameter_types = LAYER_ROLES[nn.Conv2d]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, in, height, width) to (batch, out, (height + 1) // 2, (width + 1) // 2)."""
        height, width = x.shape[2:]
        return super().forward(F.pad(x, (width % 2, 1, height % 2, 1)))
