"""RAdam: AdamW without a warm-up of its own making, because the variance of 1/sqrt(v) is rectified.

With g the gradient, m and v its running moments and t = 1, 2, ... the step::

    rho_inf = 2 / (1 - b2) - 1            rho = rho_inf - 2 t b2^t / (1 - b2^t)
    r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
    u = r m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)      if rho > 5, else m / (1 - b1^t)
    w <- w - lr (u + weight_decay w)

PyTorch adds eps to sqrt(v) before the correction of its bias, which differs in the last digits.

Source: Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", arXiv:1908.03265.
"""

import torch

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = torch.optim.RAdam(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
        decoupled_weight_decay=True,
    )
    return recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), optimizer)
