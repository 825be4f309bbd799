"""Momentum: SGD with the heavy ball, under a linear warm-up and a linear decay.

With g the gradient and b the momentum buffer::

    b <- momentum b + g + weight_decay w
    w <- w - lr b

Sources: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964);
Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013).
"""

import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The momentum buffers, and the compiled training step."""
    schedule = recipe.warmup_linear(hyperparameters, workload.step_hint)
    optimizer = optax.chain(
        optax.add_decayed_weights(hyperparameters.weight_decay),
        optax.sgd(schedule, momentum=hyperparameters.momentum),
    )
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)
