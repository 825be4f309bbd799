"""NAdamW: Adam with Nesterov momentum and decoupled weight decay, under a cosine schedule.

With g the gradient, m and v its running first and second moments and t = 1, 2, ... the step::

    m <- b1 m + (1 - b1) g            v <- b2 v + (1 - b2) g^2
    u  = b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)
    w <- w - lr (u / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w)

Sources: Dozat, "Incorporating Nesterov Momentum into Adam" (2016); Loshchilov and Hutter,
"Decoupled Weight Decay Regularization", arXiv:1711.05101.
"""

import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The moments, and the compiled training step."""
    schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    optimizer = optax.nadamw(
        schedule,
        b1=hyperparameters.beta1,
        b2=hyperparameters.beta2,
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
    )
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)
