"""SAM: AdamW on the gradient at the worst point nearby, under a linear warm-up and a cosine.

With L the loss of the batch and g its gradient at the weights w::

    g' = gradient of L at w + rho g / |g|            w <- AdamW(w, g')

Each step costs two gradients. Batch-norm statistics are those of w.

Source: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization",
arXiv:2010.01412.
"""

import torch

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = recipe.adamw(model_params, hyperparameters)
    return recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), optimizer)


def update_params(
    workload,
    current_param_container,
    current_params_types,
    model_state,
    hyperparameters,
    batch,
    loss_type,
    optimizer_state,
    eval_results,
    global_step,
    rng,
):
    """Two gradients, the second at the worst point nearby, and one step."""
    model = current_param_container
    loss = recipe.backward(workload, model, hyperparameters, batch, rng)
    params = [p for p in model.parameters() if p.grad is not None]
    ways = ascents(params, hyperparameters.rho)
    with torch.no_grad():
        torch._foreach_add_(params, ways)
    recipe.backward(workload, model, hyperparameters, batch, rng, update_batch_norm=False)
    with torch.no_grad():
        torch._foreach_sub_(params, ways)
    recipe.step(workload, model, hyperparameters, optimizer_state, loss, global_step)
    return optimizer_state, model, model_state


@torch.no_grad()
def ascents(params, rho):
    """rho g / |g|, with the norm over all parameters."""
    grads = [p.grad for p in params]
    scale = rho / recipe.gradient_norm(params).clamp(min=1e-12)
    return torch._foreach_mul(grads, scale)
