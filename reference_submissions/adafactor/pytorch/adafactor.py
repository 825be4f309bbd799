"""Adafactor as a ``torch.optim.Optimizer``; the formulas are in ``submission.py``.

``torch.optim.Adafactor`` factors over the last two axes, which are those of the window in a
convolution, and waits for the device at each parameter; this does as optax.
"""

import torch


class Adafactor(torch.optim.Optimizer):
    """Adam's second moment by rows and columns, without momentum.

    Args:
      params: the parameters, as for every optimizer.
      lr: the learning rate, relative to the size of each tensor.
      min_dim_size_to_factor: tensors whose two longest axes have this length are factored.
    """

    def __init__(self, params, lr, min_dim_size_to_factor=128):
        defaults = {"lr": lr, "min_dim_size_to_factor": min_dim_size_to_factor, "step": 0}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        """One step from the gradients."""
        for group in self.param_groups:
            group["step"] += 1
            decay = 1 - group["step"] ** -0.8
            for p in (p for p in group["params"] if p.grad is not None):
                axes = factored_axes(p.shape, group["min_dim_size_to_factor"])
                update = self._scaled(p, axes, decay)
                update /= rms(update).clamp(min=1.0)
                p.sub_(group["lr"] * rms(p).clamp(min=1e-3) * update)

    def _scaled(self, p, axes, decay):
        """The gradient over the root of its second moment."""
        state, squares = self.state[p], p.grad.square() + 1e-30
        if axes is None:
            moment = self._moment(state, "moment", squares, decay)
            return p.grad * moment.rsqrt()
        second, first = axes
        rows = self._moment(state, "rows", squares.mean(first, keepdim=True), decay)
        columns = self._moment(state, "columns", squares.mean(second, keepdim=True), decay)
        return p.grad * (rows / rows.mean(second, keepdim=True)).rsqrt() * columns.rsqrt()

    def _moment(self, state, name, value, decay):
        if name not in state:
            state[name] = torch.zeros_like(value)
        return state[name].lerp_(value, 1 - decay)


def factored_axes(shape, min_size):
    """The second longest and the longest axis; None if the tensor is too small to be factored."""
    if len(shape) < 2:
        return None
    *_, second, first = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return (second, first) if shape[second] >= min_size else None


def rms(tensor):
    """The root of the mean square."""
    return tensor.square().mean().sqrt()
