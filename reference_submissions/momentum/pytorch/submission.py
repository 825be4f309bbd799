"""Momentum: SGD with the heavy ball, under a linear warm-up and a linear decay.

With g the gradient and b the momentum buffer::

    b <- momentum b + g + weight_decay w
    w <- w - lr b

Sources: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964);
Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013).
"""

import torch

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = torch.optim.SGD(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        momentum=hyperparameters.momentum,
        weight_decay=hyperparameters.weight_decay,
        fused=True,
    )
    return recipe.init(recipe.warmup_linear(hyperparameters, workload.step_hint), optimizer)
