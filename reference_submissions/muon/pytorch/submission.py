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

import math

import torch

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size, update_params

from .muon import Muon


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The two optimizers and their learning-rate schedule."""
    matrices, others = recipe.hidden_matrices_and_others(workload, model_params)
    common = {"lr": hyperparameters.learning_rate, "weight_decay": hyperparameters.weight_decay}
    optimizers = [Muon(matrices, momentum=hyperparameters.momentum, **common)] if matrices else []
    nadamw = torch.optim.NAdam(
        others,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-8,
        decoupled_weight_decay=True,
        momentum_decay=math.inf,
        **common,
    )
    factor = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    return recipe.init(factor, *optimizers, nadamw)
