"""Data echoing: AdamW that takes ``echo_factor`` steps on each batch before it asks for the next.

Where reading data takes longer than a step, the steps in between cost nothing. After an evaluation
comes a new batch, so that a run that goes on from a checkpoint sees what it would have seen.

Source: Choi et al., "Faster Neural Network Training with Data Echoing", arXiv:1907.05550 (batch
echoing).
"""

import optax

from finishline.recipes import jax as recipe
from finishline.recipes.echo import Echo
from finishline.recipes.jax import get_batch_size, update_params


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The moments, and the compiled training step."""
    _echo.factor = hyperparameters.echo_factor
    schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
    optimizer = recipe.adamw(schedule, hyperparameters)
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)


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
    _echo.end()
    return optimizer_state, current_param_container, model_state
