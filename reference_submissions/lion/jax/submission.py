"""Lion: the sign of an interpolation between gradient and momentum, under warm-up and cosine.

With g the gradient and m the momentum::

    w <- w - lr (sign(b1 m + (1 - b1) g) + weight_decay w)
    m <- b2 m + (1 - b2) g

Source: Chen et al., "Symbolic Discovery of Optimization Algorithms", arXiv:2302.06675.
"""

import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The momentum, and the compiled training step."""
    schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    optimizer = optax.lion(
        schedule,
        b1=hyperparameters.beta1,
        b2=hyperparameters.beta2,
        weight_decay=hyperparameters.weight_decay,
    )
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)
