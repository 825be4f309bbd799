"""DiLoCo with one worker: Nesterov's method on the way that AdamW makes in a round of H steps.

Every H = ``inner_steps`` steps, with w the worker's weights, s the outer ones and b a buffer::

    d = s - w            b <- outer_momentum b + d
    s <- s - outer_learning_rate (d + outer_momentum b)            w <- s

The outer weights are what is evaluated. Batch-norm statistics are those of w.

Sources: Douillard et al., "DiLoCo: Distributed Low-Communication Training of Language Models",
arXiv:2311.08105; with one worker, Kallusky et al., "SNOO: Step-K Nesterov Outer Optimizer",
arXiv:2510.15830.
"""

import torch

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import (
    data_selection,
    get_batch_size,
    prepare_for_eval,
    update_params,
)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """AdamW, its learning-rate schedule, and what follows it."""
    adamw = recipe.adamw(model_params, hyperparameters)
    state = recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), adamw)
    outer = OuterNesterov(
        model_params.parameters(),
        inner_steps=hyperparameters.inner_steps,
        outer_learning_rate=hyperparameters.outer_learning_rate,
        outer_momentum=hyperparameters.outer_momentum,
    )
    return {**state, "optimizers": [adamw, outer]}


class OuterNesterov(recipe.Beside):
    """The outer weights and their optimizer."""

    def follow(self, group, params, weights):
        """At the end of a round, one outer step."""
        if group["step"] % group["inner_steps"]:
            return
        momentum = group["outer_momentum"]
        way = torch._foreach_sub(weights, params)
        for p in params:
            if "buffer" not in self.state[p]:
                self.state[p]["buffer"] = torch.zeros_like(p)
        buffers = [self.state[p]["buffer"] for p in params]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, way)
        torch._foreach_add_(way, buffers, alpha=momentum)
        torch._foreach_add_(weights, way, alpha=-group["outer_learning_rate"])
        torch._foreach_copy_(params, weights)
