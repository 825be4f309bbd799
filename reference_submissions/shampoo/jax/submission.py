"""Shampoo: gradients between inverse roots of their covariances, in blocks, with Adam's step sizes.

A kernel is a matrix (inputs x outputs), cut into blocks of at most ``block_size``. For each block,
with G its part of the gradient, and m and v the running moments of the whole as in Adam::

    L <- b2 L + (1 - b2) G G^T            R <- b2 R + (1 - b2) G^T G
    S = (L + e)^(-1/4) m (R + e)^(-1/4)            e = 1e-6 times the largest eigenvalue

The S of all blocks, as one matrix, has the direction of the update. Its norm is grafted from Adam::

    A = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
    w <- w - lr (|A| / |S| S + weight_decay w)

The roots are computed anew every ``precondition_frequency`` steps. Embeddings, biases, norms and
the output layer take Adam's step A.

Sources: Gupta et al., "Shampoo: Preconditioned Stochastic Tensor Optimization", arXiv:1802.09568;
blocks and grafting: Anil et al., "Scalable Second Order Optimization for Deep Learning",
arXiv:2002.09018.
"""

import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size, update_params

from .shampoo import scale_by_shampoo


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """Moments and preconditioners, and the compiled training step."""
    schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    optimizer = optax.chain(
        scale_by_shampoo(
            recipe.is_hidden_matrix(workload),
            b1=hyperparameters.beta1,
            b2=hyperparameters.beta2,
            eps=1e-8,
            precondition_frequency=hyperparameters.precondition_frequency,
            block_size=hyperparameters.block_size,
        ),
        optax.add_decayed_weights(hyperparameters.weight_decay),
        optax.scale_by_learning_rate(schedule),
    )
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)
