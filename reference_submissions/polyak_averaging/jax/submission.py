"""Polyak averaging: AdamW, judged by an exponential moving average of the weights.

With w the weights after step t = 1, 2, ... and a the average::

    a <- d_t a + (1 - d_t) w            d_t = min(ema_decay, (1 + t) / (10 + t))

d_t grows, so that the first weights are soon forgotten. Batch-norm statistics are those of w.

Sources: Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992); the
exponential average as in Tarvainen and Valpola, "Mean teachers", arXiv:1703.01780.
"""

import jax
import jax.numpy as jnp
import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import (
    data_selection,
    get_batch_size,
    prepare_for_eval,
    update_params,
)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The states of AdamW and of what follows it, and the compiled functions."""
    schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    adamw = recipe.adamw(schedule, hyperparameters)
    optimizer = with_average(adamw, hyperparameters.ema_decay)
    return recipe.init(
        workload, model_params, hyperparameters, optimizer, schedule, views=recipe.BESIDE
    )


def with_average(optimizer, ema_decay):
    """``optimizer``, with the average of its weights beside them."""

    def init(params):
        return recipe.Beside((jnp.int32(0), optimizer.init(params)), params)

    def update(grads, state, params, **_):
        count, inner = state.optimizer
        updates, inner = optimizer.update(grads, inner, params)
        count += 1
        decay = jnp.minimum(ema_decay, (1 + count) / (10 + count))
        average = jax.tree.map(
            lambda a, p, u: decay * a + (1 - decay) * (p + u), state.weights, params, updates
        )
        return updates, recipe.Beside((count, inner), average)

    return optax.GradientTransformationExtraArgs(init, update)
