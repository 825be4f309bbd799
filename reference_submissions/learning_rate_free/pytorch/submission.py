"""Learning-rate-free: D-Adaptation of AdamW under a cosine, with nothing to tune.

With g the gradient, d the estimate of the distance to the solution, c = sqrt(b2) and
f_t = d lr_t sqrt(1 - b2^t) / (1 - b1^t)::

    r <- c r + (1 - c) f_t <g, s / (sqrt(v) + eps)>         with s and v of the step before
    m <- b1 m + (1 - b1) f_t g      v <- b2 v + (1 - b2) g^2      s <- c s + (1 - c) f_t g
    d <- max(d, r / ((1 - c) |s|_1))
    w <- w - m / (sqrt(v) + eps)

lr_t is 1 at first and falls to 0 at 3/2 of ``step_hint``, for which that ruleset's budget has room:
there is no search space, the submission is for the self-tuning ruleset. d starts at 1e-4, because
from the usual 1e-6 it takes hundreds of steps to grow where gradients are noisy.

Source: Defazio and Mishchenko, "Learning-Rate-Free Learning by D-Adaptation", arXiv:2301.07733.
"""

from types import SimpleNamespace

from pytorch_optimizer import DAdaptAdam

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = DAdaptAdam(
        model_params.parameters(),
        lr=1.0,
        betas=(0.9, 0.99),
        eps=1e-8,
        d0=1e-4,
        weight_decouple=True,
        bias_correction=True,
    )
    schedule = recipe.warmup_cosine(SimpleNamespace(warmup_factor=0.0), 3 * workload.step_hint // 2)
    return recipe.init(schedule, optimizer)
