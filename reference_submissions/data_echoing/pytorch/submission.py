"""Data echoing: AdamW that takes ``echo_factor`` steps on each batch before it asks for the next.

Where reading data takes longer than a step, the steps in between cost nothing. After an evaluation
comes a new batch, so that a run that goes on from a checkpoint sees what it would have seen.

Source: Choi et al., "Faster Neural Network Training with Data Echoing", arXiv:1907.05550 (batch
echoing).
"""

import torch

from finishline.recipes import pytorch as recipe
from finishline.recipes.pytorch import get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    _echo.factor = hyperparameters.echo_factor
    optimizer = torch.optim.AdamW(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
        fused=True,
    )
    return recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), optimizer)


class Echo:
    """The batch at hand."""

    def __init__(self, factor):
        self.factor = factor
        self.batch = None
        self.uses_left = 0

    def take(self, input_queue):
        """The batch for one step."""
        if not self.uses_left:
            self.batch, self.uses_left = next(input_queue), self.factor
        self.uses_left -= 1
        return self.batch


# Not in the optimizer state, because it belongs to no checkpoint.
_echo = Echo(factor=1)


def data_selection(
    workload,
    input_queue,
    optimizer_state,
    current_param_container,
    model_state,
    hyperparameters,
    global_step,
    rng,
):
    """The batch of the step before, or after ``echo_factor`` steps the next."""
    return _echo.take(input_queue)


def prepare_for_eval(
    workload,
    current_param_container,
    current_params_types,
    model_state,
    hyperparameters,
    loss_type,
    optimizer_state,
    eval_results,
    global_step,
    rng,
):
    """Ends the echo; the parameters stay."""
    _echo.uses_left = 0
    return optimizer_state, current_param_container, model_state
