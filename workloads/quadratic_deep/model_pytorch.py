"""The noisy quadratic, in PyTorch."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from finishline.spec import ParameterType
from workloads.quadratic_deep import problem


class Model(nn.Module):
    """Quadratic form around each point; its one parameter ``theta`` starts at ones."""

    output_layer: ClassVar[str | None] = None
    parameter_types: ClassVar[Mapping[str, ParameterType]] = {"theta": ParameterType.WEIGHT}

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.ones(problem.DIMENSION))
        self.matrix: torch.Tensor
        matrix = torch.tensor(problem.hessian(), dtype=torch.float32)
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, batch: Mapping[str, torch.Tensor], *, dropout_rate: float) -> torch.Tensor:
        """(theta - x)^T Q (theta - x) / 2, (batch,), of the points x, (batch, 100)."""
        del dropout_rate  # nothing here depends on it
        offsets = self.theta - batch["inputs"]  # (batch, 100)
        return 0.5 * (offsets @ self.matrix * offsets).sum(dim=-1)
