"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, under a linear warm-up and a cosine.

For each axis i of a tensor with gradient G, with G_i its unfolding along that axis::

    L_i <- s L_i + (1 - s) G_i G_i^T        Q_i: the eigenvectors of L_i
    m <- b1 m + (1 - b1) G                  G' = G, m' = m rotated by all Q_i
    v <- b2 v + (1 - b2) G'^2
    u = m' / (sqrt(v) + eps) rotated back   w <- w - lr (c_t u + weight_decay w)

with c_t = sqrt(1 - b2^t) / (1 - b1^t) and s = b2. The first step only starts the L_i. Every
``precondition_frequency`` steps the Q_i follow by one QR iteration. Axes longer than 1,024 and
tensors with one axis are not rotated.

Where gradients do not span an axis, its eigenvectors are not unique, and the frameworks choose
different ones: their trajectories agree as long as all matter.

Source: Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", arXiv:2409.11321.
"""

from pytorch_optimizer import SOAP

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = SOAP(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
        precondition_frequency=hyperparameters.precondition_frequency,
        max_precondition_dim=1024,
    )
    return recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), optimizer)
