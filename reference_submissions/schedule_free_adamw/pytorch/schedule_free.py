"""Schedule-Free AdamW as a ``torch.optim.Optimizer`` (Defazio et al., arXiv:2405.15682).

The formulas are in ``submission.py``. Of the three sequences only y (in the parameters) and z (in
the optimizer state) are kept. Put into the update of y, the recursion for x gives::

    z_(t+1) = z_t - lr_t u_t
    y_(t+1) = (1 - c_t) (y_t - (1 - b1) lr_t u_t) + c_t z_(t+1)

with u_t = g / (sqrt(v_t / (1 - b2^t)) + eps) + weight_decay y_t. Between y and x::

    x = y + (1 - 1 / b1) (z - y)            y = x + (1 - b1) (z - x)
"""

import torch


class ScheduleFreeAdamW(torch.optim.Optimizer):
    """Schedule-Free AdamW; call ``eval()`` before and ``train()`` after each evaluation.

    Args:
      params: the parameters, as for every optimizer.
      lr: the learning rate; a warm-up may change it, a decay is not wanted.
      betas: b1, the weight of x in y (above 0), and b2, the decay of the second moment.
      eps: added to the denominator.
      weight_decay: decoupled, multiplied by the learning rate, taken at y.
    """

    def __init__(self, params, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "step": 0,
            "weight_sum": 0.0,
            "is_eval": False,
        }
        super().__init__(params, defaults)

    def eval(self):
        """Puts x into the parameters; does nothing if it is there."""
        self._swap(is_eval=True)

    def train(self):
        """Puts y into the parameters; does nothing if it is there."""
        self._swap(is_eval=False)

    @torch.no_grad()
    def _swap(self, is_eval):
        for group in self.param_groups:
            if group["is_eval"] == is_eval:
                continue
            b1 = group["betas"][0]
            params = [p for p in group["params"] if p in self.state]
            z = [self.state[p]["z"] for p in params]
            if params:
                torch._foreach_lerp_(params, z, 1 - 1 / b1 if is_eval else 1 - b1)
            group["is_eval"] = is_eval

    @torch.no_grad()
    def step(self, closure=None):
        """One step from the gradients at y."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["is_eval"]:
                raise RuntimeError("Call train() before step(): the parameters hold the average x.")
            self._step_group(group)
        return loss

    def _step_group(self, group):
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return
        for p in params:
            if p not in self.state:
                self.state[p] = {"z": p.clone(), "v": torch.zeros_like(p)}
        grads = [p.grad for p in params]
        z = [self.state[p]["z"] for p in params]
        v = [self.state[p]["v"] for p in params]

        group["step"] += 1
        b1, b2 = group["betas"]
        lr = group["lr"]
        group["weight_sum"] += lr**2
        c = lr**2 / group["weight_sum"]

        torch._foreach_mul_(v, b2)
        torch._foreach_addcmul_(v, grads, grads, 1 - b2)
        u = torch._foreach_div(v, 1 - b2 ** group["step"])
        torch._foreach_sqrt_(u)
        torch._foreach_add_(u, group["eps"])
        torch._foreach_reciprocal_(u)
        torch._foreach_mul_(u, grads)
        torch._foreach_add_(u, params, alpha=group["weight_decay"])

        torch._foreach_add_(z, u, alpha=-lr)
        torch._foreach_add_(params, u, alpha=-lr * (1 - b1))
        torch._foreach_lerp_(params, z, c)
