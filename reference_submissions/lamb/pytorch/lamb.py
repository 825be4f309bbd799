"""LAMB as a ``torch.optim.Optimizer`` (You et al., arXiv:1904.00962).

The formulas are in ``submission.py``.

As in optax, and unlike in ``pytorch_optimizer``, the moments are corrected for their bias and the
weight decay is part of the update whose norm counts.
"""

import torch


class Lamb(torch.optim.Optimizer):
    """Adam's step, scaled by tensor to the norm of the weights.

    Args:
      params: the parameters, as for every optimizer.
      lr: the learning rate.
      betas: decay rates of the two moments.
      eps: added to the denominator.
      weight_decay: added to the update, before it is scaled.
    """

    def __init__(self, params, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "step": 0}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        """One step from the gradients."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                group["step"] += 1
                updates = self._adam_updates(group, params)
                _scale_by_trust_ratio(updates, params)
                torch._foreach_add_(params, updates, alpha=-group["lr"])

    def _adam_updates(self, group, params):
        for p in params:
            if p not in self.state:
                self.state[p] = {"m": torch.zeros_like(p), "v": torch.zeros_like(p)}
        grads = [p.grad for p in params]
        m = [self.state[p]["m"] for p in params]
        v = [self.state[p]["v"] for p in params]
        b1, b2 = group["betas"]
        torch._foreach_lerp_(m, grads, 1 - b1)
        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, grads, grads, 1 - b2)
        denominators = torch._foreach_div(v, 1 - b2 ** group["step"])
        torch._foreach_sqrt_(denominators)
        torch._foreach_add_(denominators, group["eps"])
        updates = torch._foreach_div(m, 1 - b1 ** group["step"])
        torch._foreach_div_(updates, denominators)
        torch._foreach_add_(updates, params, alpha=group["weight_decay"])
        return updates


def _scale_by_trust_ratio(updates, params):
    """Multiplies each update by |w| / |u|; by 1 where one of them is 0."""
    weight_norms = torch.stack(torch._foreach_norm(params))
    update_norms = torch.stack(torch._foreach_norm(updates))
    is_defined = (weight_norms > 0) & (update_norms > 0)
    ratios = torch.where(is_defined, weight_norms / update_norms, 1.0)
    torch._foreach_mul_(updates, list(ratios.unbind()))
