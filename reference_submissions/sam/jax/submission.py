"""SAM: AdamW on the gradient at the worst point nearby, under a linear warm-up and a cosine.

With L the loss of the batch and g its gradient at the weights w::

    g' = gradient of L at w + rho g / |g|            w <- AdamW(w, g')

Each step costs two gradients. Batch-norm statistics are those of w.

Source: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization",
arXiv:2010.01412.
"""

import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The states of both optimizers, and the compiled training step."""
    schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    adamw = recipe.adamw(schedule, hyperparameters)
    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(hyperparameters.rho))
    optimizer = optax.contrib.sam(adamw, ascent, sync_period=2, opaque_mode=True)
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)
