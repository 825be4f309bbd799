"""A template: AdamW whose learning rate falls to zero in a straight line. Change what you like.

A submission is four functions, in any file, plus ``prepare_for_eval`` if evaluation needs other
parameters than training. Everything in them runs on the clock, the import of this file included.
"""

import functools

import jax
import optax

from finishline import spec


def get_batch_size(workload_name):
    """The global batch size; a submission may choose another for every workload."""
    return {"mnist": 16, "quadratic_deep": 128}.get(workload_name, 64)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """Called once. Whatever it returns comes back as ``optimizer_state`` in the first step.

    ``model_params`` is a nested dict of arrays, ``model_state`` the batch-norm statistics or None.
    ``hyperparameters`` is a named tuple with a point of ``tuning_search_space.json``; without that
    file (self-tuning) it is None. ``workload.step_hint`` is the number of steps to plan for.
    """
    learning_rate = optax.linear_schedule(hyperparameters.learning_rate, 0.0, workload.step_hint)
    optimizer = optax.adamw(
        learning_rate, b2=hyperparameters.beta2, weight_decay=hyperparameters.weight_decay
    )
    # Compiled once. Donated arguments are overwritten, which saves memory.
    train_step = jax.jit(
        functools.partial(_train_step, workload, optimizer), donate_argnums=(0, 1, 2)
    )
    # Jitted, so that the state is placed beside the parameters, on all devices that have them.
    init = jax.jit(optimizer.init, keep_unused=True)
    return init(model_params), train_step


def _train_step(workload, optimizer, params, model_state, state, batch, rng):
    """Forward, backward, update. With several devices, the arrays are sharded and this is the same.

    ``batch`` has 'inputs', 'targets' and, if some examples do not count, 'weights'.
    """

    def mean_loss(params):
        logits, new_model_state = workload.model_fn(
            params, batch, model_state, spec.ForwardPassMode.TRAIN, rng, update_batch_norm=True
        )
        loss = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
        return loss["summed"] / loss["n_valid_examples"], new_model_state

    (loss, model_state), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
    updates, state = optimizer.update(grads, state, params)
    metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
    return optax.apply_updates(params, updates), model_state, state, metrics


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
    """One training step. Raise ``spec.TrainingCompleteError`` to stop before the budget is spent.

    ``rng`` is a new JAX key every step. ``eval_results`` lists (step, metrics) of all evaluations.
    """
    state, train_step = optimizer_state
    params, model_state, state, metrics = train_step(
        current_param_container, model_state, state, batch, rng
    )
    # Give the logger arrays, not floats: float(loss) would wait for the device.
    if global_step % 100 == 0 and workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics(metrics, global_step)
    return (state, train_step), params, model_state


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
    """The batch for one step. ``input_queue`` is an endless iterator over the training data."""
    return next(input_queue)
