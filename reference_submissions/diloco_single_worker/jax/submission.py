"""DiLoCo with one worker: Nesterov's method on the way that AdamW makes in a round of H steps.

Every H = ``inner_steps`` steps, with w the worker's weights, s the outer ones and b a buffer::

    d = s - w            b <- outer_momentum b + d
    s <- s - outer_learning_rate (d + outer_momentum b)            w <- s

The outer weights are what is evaluated. Batch-norm statistics are those of w.

Sources: Douillard et al., "DiLoCo: Distributed Low-Communication Training of Language Models",
arXiv:2311.08105; with one worker, Kallusky et al., "SNOO: Step-K Nesterov Outer Optimizer",
arXiv:2510.15830.
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
    outer = optax.sgd(
        hyperparameters.outer_learning_rate, momentum=hyperparameters.outer_momentum, nesterov=True
    )
    optimizer = with_outer_steps(adamw, outer, hyperparameters.inner_steps)
    return recipe.init(
        workload, model_params, hyperparameters, optimizer, schedule, views=recipe.BESIDE
    )


def with_outer_steps(inner, outer, inner_steps):
    """``inner``, and after each ``inner_steps`` of its steps one of ``outer``."""

    def init(params):
        return recipe.Beside((jnp.int32(0), inner.init(params), outer.init(params)), params)

    def update(grads, state, params, **_):
        count, inner_state, outer_state = state.optimizer
        updates, inner_state = inner.update(grads, inner_state, params)
        count += 1

        def outer_step(updates, weights, outer_state):
            way = jax.tree.map(lambda s, p, u: s - (p + u), weights, params, updates)
            outer_updates, outer_state = outer.update(way, outer_state)
            weights = optax.apply_updates(weights, outer_updates)
            return jax.tree.map(jnp.subtract, weights, params), weights, outer_state

        updates, weights, outer_state = jax.lax.cond(
            count % inner_steps == 0,
            outer_step,
            lambda *unchanged: unchanged,
            *(updates, state.weights, outer_state),
        )
        return updates, recipe.Beside((count, inner_state, outer_state), weights)

    return optax.GradientTransformationExtraArgs(init, update)
