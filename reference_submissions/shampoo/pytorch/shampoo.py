"""Blocked Shampoo as a ``torch.optim.Optimizer``; the formulas are in ``submission.py``."""

import math

import torch
import torch.nn.functional as F


class Shampoo(torch.optim.Optimizer):
    """Shampoo's direction with Adam's norm; groups without ``is_matrix`` take Adam's step.

    Args:
      params: groups of kernels, (outputs, inputs, ...), and of other parameters.
      lr: the learning rate.
      betas: decay rates of the first moment, and of second moment and covariances.
      eps: added to Adam's denominator.
      weight_decay: decoupled, multiplied by the learning rate.
      precondition_frequency: steps from one computation of the roots to the next.
      block_size: the most rows and columns of a block.
    """

    def __init__(
        self,
        params,
        lr,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        precondition_frequency=10,
        block_size=128,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "precondition_frequency": precondition_frequency,
            "block_size": block_size,
            "is_matrix": False,
            "step": 0,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        """One step from the gradients."""
        for group in self.param_groups:
            group["step"] += 1
            for p in (p for p in group["params"] if p.grad is not None):
                update = self._adam_direction(group, p)
                if group["is_matrix"]:
                    update = self._precondition(group, p, update)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"])

    def _adam_direction(self, group, p):
        state, (b1, b2), t = self.state[p], group["betas"], group["step"]
        if "m" not in state:
            state["m"], state["v"] = torch.zeros_like(p), torch.zeros_like(p)
        state["m"].lerp_(p.grad, 1 - b1)
        state["v"].mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
        denominator = (state["v"] / (1 - b2**t)).sqrt_().add_(group["eps"])
        return state["m"] / (1 - b1**t) / denominator

    def _precondition(self, group, p, adam_direction):
        state, b2, size = self.state[p], group["betas"][1], group["block_size"]
        g = blocks(p.grad, size)  # (blocks, blocks, rows, columns)
        if "left" not in state:
            state["left"] = torch.zeros_like(g @ g.mT)
            state["right"] = torch.zeros_like(g.mT @ g)
        state["left"].lerp_(g @ g.mT, 1 - b2)
        state["right"].lerp_(g.mT @ g, 1 - b2)
        if (group["step"] - 1) % group["precondition_frequency"] == 0:
            state["left_root"] = inverse_fourth_root(state["left"])
            state["right_root"] = inverse_fourth_root(state["right"])
        direction = state["left_root"] @ blocks(state["m"], size) @ state["right_root"]
        norm = direction.norm()
        direction *= torch.where(norm > 0, adam_direction.norm() / norm, 0.0)
        return whole(direction, p.shape)


def inverse_fourth_root(matrices):
    """(A + e)^(-1/4) of symmetric matrices, (..., n, n); 0 of 0."""
    values, vectors = torch.linalg.eigh(matrices)
    largest = values[..., -1:]
    values = values.clamp(min=0.0) + 1e-6 * largest
    roots = torch.where(largest > 0, values**-0.25, 0.0)
    return (vectors * roots[..., None, :]) @ vectors.mT


def blocks(kernel, block_size):
    """(outputs, inputs, ...) as (blocks of rows, blocks of columns, rows, columns), 0 at the ends.

    Rows are inputs, those of a convolution in the order (height, width, channels) as in JAX, so
    that the blocks are the same; columns are outputs.
    """
    matrix = kernel.movedim(1, -1).flatten(start_dim=1).T
    rows, columns = (min(size, block_size) for size in matrix.shape)
    filled = F.pad(matrix, (0, -matrix.shape[1] % columns, 0, -matrix.shape[0] % rows))
    return filled.unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).transpose(1, 2)


def whole(parts, shape):
    """The kernel of ``shape`` of which ``parts`` are the blocks."""
    matrix = parts.transpose(1, 2).flatten(2, 3).flatten(0, 1)
    outputs, inputs, *window = shape
    num_rows = inputs * math.prod(window)
    kernel = matrix[:num_rows, :outputs].T.reshape(outputs, *window, inputs)
    return kernel.movedim(-1, 1)
