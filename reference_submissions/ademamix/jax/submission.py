"""AdEMAMix: AdamW with a second, much slower momentum, under a linear warm-up and a cosine.

With g the gradient, m1, m2 and v its running moments and t = 1, 2, ... the step::

    m1 <- b1 m1 + (1 - b1) g      m2 <- b3_t m2 + (1 - b3_t) g      v <- b2 v + (1 - b2) g^2
    u  = (m1 / (1 - b1^t) + alpha_t m2) / (sqrt(v / (1 - b2^t)) + eps)
    w <- w - lr (u + weight_decay w)

Up to step T = ``step_hint``, alpha_t grows linearly to alpha, and the half-life of the slow
momentum from that of b1 to that of b3::

    alpha_t = min(t / T, 1) alpha
    b3_t = min(exp(ln b1 ln b3 / ((1 - t / T) ln b3 + t / T ln b1)), b3)

Source: Pagliardini et al., "The AdEMAMix Optimizer: Better, Faster, Older", arXiv:2409.03137.
"""

import jax.numpy as jnp
import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The moments, and the compiled training step."""
    schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    optimizer = optax.contrib.ademamix(
        schedule,
        b1=hyperparameters.beta1,
        b2=hyperparameters.beta2,
        b3=slow_decay(hyperparameters, workload.step_hint),
        alpha=optax.linear_schedule(
            hyperparameters.alpha / workload.step_hint,  # optax counts from 0
            hyperparameters.alpha,
            workload.step_hint - 1,
        ),
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
    )
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)


def slow_decay(hyperparameters, num_steps):
    """b3 as a function of the step, counted from 0."""
    log_b1, log_b3 = jnp.log(hyperparameters.beta1), jnp.log(hyperparameters.beta3)

    def schedule(count):
        progress = jnp.minimum((count + 1) / num_steps, 1.0)
        return jnp.exp(log_b1 * log_b3 / ((1.0 - progress) * log_b3 + progress * log_b1))

    return schedule
