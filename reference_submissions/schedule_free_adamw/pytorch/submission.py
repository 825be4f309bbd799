"""Schedule-Free AdamW: iterate averaging in place of a learning-rate schedule.

Gradients are taken at y, Adam's steps move z, and x, a weighted average of z, is evaluated. With v
the running second moment of the gradient, t = 1, 2, ... the step and lr_t a linear warm-up::

    y_t = (1 - b1) z_t + b1 x_t
    z_(t+1) = z_t - lr_t (g(y_t) / (sqrt(v_t / (1 - b2^t)) + eps) + weight_decay y_t)
    x_(t+1) = (1 - c_t) x_t + c_t z_(t+1)          c_t = lr_t^2 / (lr_1^2 + ... + lr_t^2)

The optimizer is in ``schedule_free.py``; the model holds y while it trains, and x from
``prepare_for_eval`` to the next step. Batch-norm statistics are those of y.

Source: Defazio et al., "The Road Less Scheduled", arXiv:2405.15682. As in optax, the bias of v is
corrected in v rather than in lr_t, so that c_t is free of it.
"""

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import (
    data_selection,
    get_batch_size,
    prepare_for_eval,
    update_params,
)

from .schedule_free import ScheduleFreeAdamW


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer; its learning rate at step t is lr min(t / T, 1)."""
    optimizer = ScheduleFreeAdamW(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
    )
    warmup = recipe.constant_after_warmup(hyperparameters, workload.step_hint)
    return recipe.init(lambda step: warmup(step + 1), optimizer)
