"""Schedule-Free AdamW: iterate averaging in place of a learning-rate schedule.

Gradients are taken at y, Adam's steps move z, and x, a weighted average of z, is evaluated. With v
the running second moment of the gradient, t = 1, 2, ... the step and lr_t a linear warm-up::

    y_t = (1 - b1) z_t + b1 x_t
    z_(t+1) = z_t - lr_t (g(y_t) / (sqrt(v_t / (1 - b2^t)) + eps) + weight_decay y_t)
    x_(t+1) = (1 - c_t) x_t + c_t z_(t+1)          c_t = lr_t^2 / (lr_1^2 + ... + lr_t^2)

Training keeps y in the parameters and z in the optimizer state. ``prepare_for_eval`` returns x; as
y follows from x and z, the next training step takes it back. Batch-norm statistics are those of y.

Source: Defazio et al., "The Road Less Scheduled", arXiv:2405.15682. As in optax, the bias of v is
corrected in v rather than in lr_t, so that c_t is free of it.
"""

import jax
import jax.numpy as jnp
import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import (
    data_selection,
    get_batch_size,
    prepare_for_eval,
    update_params,
)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """z and the second moments, and the compiled functions."""
    warmup = recipe.constant_after_warmup(hyperparameters, workload.step_hint)
    adamw_without_momentum = optax.chain(
        optax.scale_by_rms(
            hyperparameters.beta2, eps=1e-8, eps_in_sqrt=False, bias_correction=True
        ),
        optax.add_decayed_weights(hyperparameters.weight_decay),
        # The paper's warm-up, lr_t = lr min(t / T, 1); optax's own starts with lr_1 = 0.
        optax.scale_by_learning_rate(lambda count: warmup(count + 1)),  # counts from 0
    )
    optimizer = optax.contrib.schedule_free(  # counts from 1
        adamw_without_momentum, learning_rate=warmup, b1=hyperparameters.beta1
    )
    return recipe.init(
        workload,
        model_params,
        hyperparameters,
        optimizer,
        lambda step: warmup(step + 1),
        views=recipe.Views(evaluated=_evaluated, trained=_trained),
    )


def _evaluated(params, state):
    """x from y."""
    return optax.contrib.schedule_free_eval_params(state, params), state


def _trained(params, state, is_evaluated):
    """y from x or y: y = x + (1 - b1) (z - x)."""
    weight = jnp.where(is_evaluated, 1.0 - state.b1, 0.0)
    return jax.tree.map(lambda p, z: p + weight * (z - p), params, state.z), state
