"""Muon: orthogonalised momentum for the matrices of hidden layers, NAdamW for all else.

With G the gradient of a kernel as a matrix (inputs x outputs) and t = 1, 2, ... the step::

    M <- b M + (1 - b) G
    N = b M / (1 - b^(t+1)) + (1 - b) G / (1 - b^t)
    W <- W - lr (0.2 sqrt(max(rows, columns)) NS(N) + weight_decay W)

NS takes five steps X <- a X + (b' A + c A A) X, A = X X^T, from N / |N|, which bring all singular
values near 1. The factor gives updates the size of Adam's, so one learning rate is for both. What a
parameter is says its role: embeddings, biases, norms and the output layer go to NAdamW.

Sources: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); the factor
is from Liu et al., "Muon is Scalable for LLM Training", arXiv:2502.16982.
"""

import jax
import optax

from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """Momenta and moments, and the compiled training step."""
    schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    optimizer = optax.contrib.muon(
        schedule,
        beta=hyperparameters.momentum,
        weight_decay=hyperparameters.weight_decay,
        adam_b1=hyperparameters.beta1,
        adam_b2=hyperparameters.beta2,
        adam_weight_decay=hyperparameters.weight_decay,
        muon_weight_dimension_numbers=as_matrices(workload, model_params),
        consistent_rms=0.2,
    )
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)


def as_matrices(workload, params):
    """For each parameter how it is a matrix, (all others) x (last axis); None for NAdamW."""

    def dimension_numbers(is_matrix, param):
        if is_matrix:
            last = param.ndim - 1
            return optax.contrib.MuonDimensionNumbers(tuple(range(last)), last)
        return None

    return jax.tree.map(dimension_numbers, recipe.is_hidden_matrix(workload), params)
