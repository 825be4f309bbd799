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

from pytorch_optimizer import AdEMAMix

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = AdEMAMix(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2, hyperparameters.beta3),
        alpha=hyperparameters.alpha,
        t_alpha_beta3=workload.step_hint,
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
    )
    return recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), optimizer)
