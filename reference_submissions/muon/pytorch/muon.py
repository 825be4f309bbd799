"""Muon as a ``torch.optim.Optimizer``; the formulas are in ``submission.py``.

``torch.optim.Muon`` takes matrices only and works in bfloat16; this takes kernels of convolutions,
too, and keeps the precision of the gradient, as ``optax.contrib.muon`` does.
"""

import math

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NUM_ITERATIONS = 5
EPS = 1e-8


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum.

    Args:
      params: kernels, (outputs, ...).
      lr: the learning rate.
      momentum: decay rate of the momentum.
      weight_decay: decoupled, multiplied by the learning rate.
    """

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "step": 0}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        """One step from the gradients."""
        for group in self.param_groups:
            group["step"] += 1
            t, b = group["step"], group["momentum"]
            for p in (p for p in group["params"] if p.grad is not None):
                if p not in self.state:
                    self.state[p]["momentum"] = torch.zeros_like(p)
                m = self.state[p]["momentum"]
                m.lerp_(p.grad, 1 - b)
                mixed = b / (1 - b ** (t + 1)) * m + (1 - b) / (1 - b**t) * p.grad
                update = orthogonalised(mixed.flatten(start_dim=1))
                update *= 0.2 * math.sqrt(max(update.shape))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.view_as(p), alpha=-group["lr"])


def orthogonalised(matrix):
    """``matrix`` with singular values near 1."""
    a, b, c = COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if is_tall else matrix
    x = x / (x.norm() + EPS)
    for _ in range(NUM_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x
