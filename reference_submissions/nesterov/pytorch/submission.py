"""Nesterov: SGD with Nesterov's accelerated gradient, under a linear warm-up and a linear decay.

With g the gradient and b the momentum buffer::

    b <- momentum b + g + weight_decay w
    w <- w - lr (g + weight_decay w + momentum b)

Sources: Nesterov, "A method for solving the convex programming problem with convergence rate
O(1/k^2)" (1983); Sutskever et al., "On the importance of initialization and momentum in deep
learning" (2013), in the form that needs no look-ahead.
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
        nesterov=True,
        fused=True,
    )
    return recipe.init(recipe.warmup_linear(hyperparameters, workload.step_hint), optimizer)
