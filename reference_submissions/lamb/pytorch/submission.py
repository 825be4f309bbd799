"""LAMB: Adam's step, scaled in each layer to the size of its weights, under warm-up and cosine.

With g the gradient, m and v its running moments, t = 1, 2, ... the step and norms by tensor::

    u = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w
    w <- w - lr |w| / |u| u             (the ratio is 1 where |w| or |u| is 0)

Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
arXiv:1904.00962.
"""

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size, update_params

from .lamb import Lamb


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = Lamb(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-6,
        weight_decay=hyperparameters.weight_decay,
    )
    return recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), optimizer)
