"""Nesterov: SGD with Nesterov's accelerated gradient, under a linear warm-up and a linear decay.

With g the gradient and b the momentum buffer::

    b <- momentum b + g + weight_decay w
    w <- w - lr (g + weight_decay w + momentum b)

Sources: Nesterov, "A method for solving the convex programming problem with convergence rate
O(1/k^2)" (1983); Sutskever et al., "On the importance of initialization and momentum in deep
learning" (2013), in the form that needs no look-ahead.
"""

import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The momentum buffers, and the compiled training step."""
    schedule = recipe.warmup_linear(hyperparameters, workload.step_hint)
    optimizer = optax.chain(
        optax.add_decayed_weights(hyperparameters.weight_decay),
        optax.sgd(schedule, momentum=hyperparameters.momentum, nesterov=True),
    )
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)
