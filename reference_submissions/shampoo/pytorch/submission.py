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

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size, update_params

from .shampoo import Shampoo


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    matrices, others = recipe.hidden_matrices_and_others(workload, model_params)
    optimizer = Shampoo(
        [{"params": matrices, "is_matrix": True}, {"params": others, "is_matrix": False}],
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
        precondition_frequency=hyperparameters.precondition_frequency,
        block_size=hyperparameters.block_size,
    )
    return recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), optimizer)
