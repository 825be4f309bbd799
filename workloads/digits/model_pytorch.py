"""A small convolutional network with batch norm, in PyTorch."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from finishline.frameworks.pytorch.init import lecun_normal_
from finishline.frameworks.pytorch.layers import BatchNorm2d, channels_first, dropout


class Model(nn.Module):
    """Three 3 x 3 convolutions with batch norm and ReLU, average over space, one linear layer.

    Args:
      widths: channels of the three convolutions.
      num_classes: number of logits.
    """

    output_layer = "output"

    def __init__(self, widths: tuple[int, int, int], num_classes: int):
        super().__init__()
        self.conv_0 = nn.Conv2d(1, widths[0], 3, padding="same", bias=False)
        self.norm_0 = BatchNorm2d(widths[0])
        self.conv_1 = nn.Conv2d(widths[0], widths[1], 3, padding="same", bias=False)
        self.norm_1 = BatchNorm2d(widths[1])
        self.conv_2 = nn.Conv2d(widths[1], widths[2], 3, padding="same", bias=False)
        self.norm_2 = BatchNorm2d(widths[2])
        self.output = nn.Linear(widths[2], num_classes)
        self.apply(lecun_normal_)

    def forward(self, batch: Mapping[str, torch.Tensor], *, dropout_rate: float) -> torch.Tensor:
        """Logits, (batch, num_classes), of ``batch["inputs"]``, (batch, 8, 8, 1)."""
        x = channels_first(batch["inputs"])  # (batch, 1, 8, 8)
        x = F.relu(self.norm_0(self.conv_0(x)))
        x = F.relu(self.norm_1(self.conv_1(x)))
        x = F.max_pool2d(x, 2)  # (batch, widths[1], 4, 4)
        x = F.relu(self.norm_2(self.conv_2(x)))
        x = x.mean(dim=(2, 3))  # (batch, widths[2])
        x = dropout(x, dropout_rate, self.training)
        return self.output(x)
