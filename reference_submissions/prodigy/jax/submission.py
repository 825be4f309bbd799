"""Prodigy: AdamW that estimates its step size from the distance to the start, under a cosine.

With g the gradient, w0 the initial weights, d the estimate of the distance to the solution and
f_t = d lr_t sqrt(1 - b2^t) / (1 - b1^t)::

    m <- b1 m + (1 - b1) d g                    v <- b2 v + (1 - b2) d^2 g^2
    r <- sqrt(b2) r + d f_t <g, w0 - w>         s <- sqrt(b2) s + d f_t g
    d <- max(d, d_coef r / |s|_1)
    w <- w - f_t (m / (sqrt(v) + d eps) + weight_decay w)

lr_t is 1 at first and falls to 0; d is ``d0`` at first. The PyTorch implementation, its authors'
own, waits for the device a few times in each step.

Source: Mishchenko and Defazio, "Prodigy: An Expeditiously Adaptive Parameter-Free Learner",
arXiv:2306.06101.
"""

import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The moments and estimates, and the compiled training step."""
    schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    optimizer = optax.contrib.prodigy(
        schedule,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-8,
        estim_lr0=hyperparameters.d0,
        estim_lr_coef=hyperparameters.d_coef,
        weight_decay=hyperparameters.weight_decay,
    )
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)
