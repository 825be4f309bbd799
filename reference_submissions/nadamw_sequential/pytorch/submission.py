"""Sequential NAdamW: tunes itself by trying one learning rate after the other, each from the start.

Round r = 0, 1, ... takes 3/4 ``step_hint`` steps of NAdamW from the initial weights with the peak
learning rate ``PEAKS[r]``, under a linear warm-up and a cosine. The rate that does well most often
comes first; the budget of a self-tuning submission has room for a few rounds. After the last, the
submission says that it is done.

For NAdamW see ``reference_submissions/nadamw``. Batch-norm statistics are not reset: they forget
by themselves.

Source: the idea of the self-tuning baseline in Dahl et al., "Benchmarking Neural Network Training
Algorithms", arXiv:2306.07179.
"""

import math
from types import SimpleNamespace

import torch

from finishline import spec
from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import data_selection, get_batch_size

PEAKS = (0.01, 0.003, 0.03, 0.001, 0.1)
WARMUP_FACTOR = 0.05


def steps_of_round(step_hint):
    """Steps that each round takes."""
    return max(2, 3 * step_hint // 4)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer, its learning-rate schedule, and the initial weights."""
    optimizer = torch.optim.NAdam(
        model_params.parameters(), lr=1.0, betas=(0.9, 0.99), eps=1e-8, momentum_decay=math.inf
    )
    state = recipe.init(learning_rate(steps_of_round(workload.step_hint)), optimizer)
    return {**state, "initial": [p.detach().clone() for p in model_params.parameters()]}


def learning_rate(num_steps):
    """The schedules of the rounds, one after the other."""
    one = SimpleNamespace(warmup_factor=WARMUP_FACTOR)
    factor = recipe.warmup_cosine(one, num_steps)

    def schedule(step):
        peak = PEAKS[min(step // num_steps, len(PEAKS) - 1)]
        return peak * factor(step % num_steps)

    return schedule


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
    """One training step, or the end after the last round."""
    if global_step >= len(PEAKS) * steps_of_round(workload.step_hint):
        raise spec.TrainingCompleteError
    updated = recipe.update_params(
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
    )
    if global_step and global_step % steps_of_round(workload.step_hint) == 0:
        begin_again(current_param_container, optimizer_state)
    return updated


@torch.no_grad()
def begin_again(model, optimizer_state):
    """The first step of a new round goes back to the initial weights, without moments."""
    torch._foreach_copy_(list(model.parameters()), optimizer_state["initial"])
    optimizer_state["optimizers"][0].state.clear()
