"""Lookahead: slow weights take a step towards the fast ones now and then; AdamW moves the fast.

Every k = ``sync_period`` steps, with w the fast and s the slow weights::

    s <- s + slow_step_size (w - s)            w <- s

The slow weights are what is evaluated. Batch-norm statistics are those of w.

Source: Zhang et al., "Lookahead Optimizer: k steps forward, 1 step back", arXiv:1907.08610.
"""

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
    lookahead = optax.lookahead(adamw, hyperparameters.sync_period, hyperparameters.slow_step_size)
    optimizer = with_slow_weights(lookahead)
    return recipe.init(
        workload, model_params, hyperparameters, optimizer, schedule, views=recipe.BESIDE
    )


def with_slow_weights(lookahead):
    """``optax.lookahead``, whose slow weights it wants among the parameters, beside them."""

    def init(params):
        both = optax.LookaheadParams(params, params)
        return recipe.Beside(lookahead.init(both), params)

    def update(grads, state, params, **_):
        both = optax.LookaheadParams(params, state.weights)
        updates, inner = lookahead.update(grads, state.optimizer, both)
        slow = optax.apply_updates(state.weights, updates.slow)
        return updates.fast, recipe.Beside(inner, slow)

    return optax.GradientTransformationExtraArgs(init, update)
