"""A perceptron with one hidden layer, in PyTorch."""

from collections.abc import Mapping

import torch
from torch import nn

from finishline.frameworks.pytorch.init import lecun_normal_

NUM_PIXELS = 784


class Model(nn.Module):
    """Linear, sigmoid, linear.

    Args:
      width: number of hidden units.
      num_classes: number of logits.
    """

    output_layer = "output"

    def __init__(self, width: int, num_classes: int):
        super().__init__()
        self.hidden = nn.Linear(NUM_PIXELS, width)
        self.output = nn.Linear(width, num_classes)
        self.apply(lecun_normal_)

    def forward(self, batch: Mapping[str, torch.Tensor], *, dropout_rate: float) -> torch.Tensor:
        """Logits, (batch, num_classes), of ``batch["inputs"]``, (batch, 784)."""
        del dropout_rate  # nothing here depends on it
        return self.output(torch.sigmoid(self.hidden(batch["inputs"])))
