"""An optimizer of the submission's own."""

from typing import NamedTuple

import torch


class Phase(NamedTuple):
    """Where the schedule is."""

    name: str
    factor: float


class Momentum(torch.optim.Optimizer):
    """Heavy-ball momentum."""

    def __init__(self, params, lr, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                buffer = state.setdefault("momentum_buffer", torch.zeros_like(p))
                buffer.mul_(group["momentum"]).add_(p.grad)
                p.data.add_(buffer, alpha=-group["lr"])
