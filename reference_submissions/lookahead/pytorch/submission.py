"""Lookahead: slow weights take a step towards the fast ones now and then; AdamW moves the fast.

Every k = ``sync_period`` steps, with w the fast and s the slow weights::

    s <- s + slow_step_size (w - s)            w <- s

The slow weights are what is evaluated. Batch-norm statistics are those of w.

Source: Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", arXiv:1907.08610.
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
    slow = SlowWeights(
        model_params.parameters(),
        sync_period=hyperparameters.sync_period,
        slow_step_size=hyperparameters.slow_step_size,
    )
    return {**state, "optimizers": [adamw, slow]}


class SlowWeights(recipe.Beside):
    """The slow weights."""

    def follow(self, group, params, weights):
        """s <- s + slow_step_size (w - s), then w <- s."""
        if group["step"] % group["sync_period"] == 0:
            torch._foreach_lerp_(weights, params, group["slow_step_size"])
            torch._foreach_copy_(params, weights)
