"""SGD: plain stochastic gradient descent, under a linear warm-up and a cosine.

With g the gradient::

    w <- w - lr (g + weight_decay w)

Source: Robbins and Monro, "A Stochastic Approximation Method" (1951).
"""

import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The compiled training step; SGD has no state but the step."""
    schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    optimizer = optax.chain(
        optax.add_decayed_weights(hyperparameters.weight_decay), optax.sgd(schedule)
    )
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)
