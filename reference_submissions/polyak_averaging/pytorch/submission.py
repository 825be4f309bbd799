"""Polyak averaging: AdamW, judged by an exponential moving average of the weights.

With w the weights after step t = 1, 2, ... and a the average::

    a <- d_t a + (1 - d_t) w            d_t = min(ema_decay, (1 + t) / (10 + t))

d_t grows, so that the first weights are soon forgotten. Batch-norm statistics are those of w.

Sources: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992); the
exponential average as in Tarvainen and Valpola, "Mean teachers", arXiv:1703.01780.
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
    average = Average(model_params.parameters(), ema_decay=hyperparameters.ema_decay)
    return {**state, "optimizers": [adamw, average]}


class Average(recipe.Beside):
    """The average of the weights."""

    def follow(self, group, params, weights):
        """a <- d_t a + (1 - d_t) w."""
        t = group["step"]
        decay = min(group["ema_decay"], (1 + t) / (10 + t))
        torch._foreach_lerp_(weights, params, 1 - decay)
