"""AdaBelief: Adam whose second moment is that of the gradient's deviation from its mean.

With g the gradient, m its running mean, s its running variance and t = 1, 2, ... the step::

    m <- b1 m + (1 - b1) g            s <- b2 s + (1 - b2) (g - m)^2 + eps
    w <- w - lr (m / (1 - b1^t) / (sqrt(s / (1 - b2^t)) + eps) + weight_decay w)

Source: Zhuang et al., "AdaBelief Optimizer: Adapting Stepsizes by the Belief in Observed
Gradients", arXiv:2010.07468.
"""

import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The moments, and the compiled training step."""
    schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    optimizer = optax.chain(
        optax.scale_by_belief(
            b1=hyperparameters.beta1, b2=hyperparameters.beta2, eps=1e-12, eps_root=1e-12
        ),
        optax.add_decayed_weights(hyperparameters.weight_decay),
        optax.scale_by_learning_rate(schedule),
    )
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)
