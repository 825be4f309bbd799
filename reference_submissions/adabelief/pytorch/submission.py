"""AdaBelief: Adam whose second moment is that of the gradient's deviation from its mean.

With g the gradient, m its running mean, s its running variance and t = 1, 2, ... the step::

    m <- b1 m + (1 - b1) g            s <- b2 s + (1 - b2) (g - m)^2 + eps
    w <- w - lr (m / (1 - b1^t) / (sqrt(s / (1 - b2^t)) + eps) + weight_decay w)

Source: Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
Gradients", arXiv:2010.07468.
"""

from pytorch_optimizer import AdaBelief

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = AdaBelief(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-12,
        weight_decay=hyperparameters.weight_decay,
        weight_decouple=True,
        rectify=False,
    )
    return recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), optimizer)
