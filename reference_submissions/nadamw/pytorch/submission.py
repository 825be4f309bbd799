"""NAdamW: Adam with Nesterov momentum and decoupled weight decay, under a cosine schedule.

With g the gradient, m and v its running first and second moments and t = 1, 2, ... the step::

    m <- b1 m + (1 - b1) g            v <- b2 v + (1 - b2) g^2
    u  = b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)
    w <- w - lr (u / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w)

``torch.optim.NAdam`` also lets b1 grow, as b1_t = b1 (1 - 0.5 * 0.96^(momentum_decay t)).
An infinite ``momentum_decay`` makes it constant, and thereby equal to ``optax.nadamw``.

Sources: Dozat, "Incorporating Nesterov Momentum into Adam" (2016); Loshchilov and Hutter,
"Decoupled Weight Decay Regularization", arXiv:1711.05101.
"""

import math

import torch

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = torch.optim.NAdam(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
        decoupled_weight_decay=True,
        momentum_decay=math.inf,
    )
    return recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), optimizer)
