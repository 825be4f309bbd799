"""What nearly all training algorithms in JAX share: everything but the optimizer.

A submission brings an optax optimizer and takes the rest from here::

    from finishline.recipes import jax as recipe
    from finishline.recipes.jax import data_selection, get_batch_size, update_params

    def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
        schedule = recipe.warmup_cosine(hyperparameters, workload.step_hint)
        return recipe.init(workload, model_params, hyperparameters, optax.adamw(schedule), schedule)

Two hyperparameters act if the search space has them: ``grad_clip``, the largest norm of a gradient,
and ``label_smoothing``. ``loss``, ``grad_norm`` and ``learning_rate`` go to the record every 100
steps.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from finishline import spec
from finishline.recipes.batches import data_selection, get_batch_size
from finishline.recipes.jax_schedules import (
    constant_after_warmup,
    warmup_cosine,
    warmup_linear,
)
from finishline.recipes.roles import MATRIX_ROLES

__all__ = [
    "BESIDE",
    "Beside",
    "Views",
    "adamw",
    "constant_after_warmup",
    "data_selection",
    "get_batch_size",
    "init",
    "is_hidden_matrix",
    "prepare_for_eval",
    "update_params",
    "warmup_cosine",
    "warmup_linear",
]

LOG_EVERY = 100


class Views(NamedTuple):
    """For optimizers that are judged by other parameters than those at which gradients are taken.

    Attributes:
      evaluated: from the parameters in training and the optimizer's state to the parameters to
        evaluate and the state that goes with them.
      trained: the way back, from parameters, state, and a boolean scalar that says whether they are
        those of an evaluation; if not, it changes nothing. Part of each step, so without branches.
    """

    evaluated: Callable[[Any, Any], tuple[Any, Any]]
    trained: Callable[[Any, Any, jax.Array], tuple[Any, Any]]


class Beside(NamedTuple):
    """The state of an optimizer that keeps weights beside those in training, to be judged by them.

    Attributes:
      optimizer: the state of what moves the weights in training.
      weights: the others; the training's own while the parameters are those of an evaluation.
    """

    optimizer: Any
    weights: Any


def _swap(params: Any, state: Beside) -> tuple[Any, Beside]:
    return state.weights, state._replace(weights=params)


def _swap_back(params: Any, state: Beside, is_evaluated: jax.Array) -> tuple[Any, Beside]:
    # A selection by the element goes into the kernels of the step; a branch would copy.
    def select(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(is_evaluated, a, b)

    trained = jax.tree.map(select, state.weights, params)
    others = jax.tree.map(select, params, state.weights)
    return trained, state._replace(weights=others)


BESIDE = Views(evaluated=_swap, trained=_swap_back)


class State(NamedTuple):
    """What a checkpoint has to hold besides the parameters; all of it arrays.

    Attributes:
      step: int32 scalar, the number of steps done.
      is_evaluated: boolean scalar, whether the parameters are those of an evaluation.
      optimizer: the state of the optimizer.
    """

    step: jax.Array
    is_evaluated: jax.Array
    optimizer: Any


class Functions(NamedTuple):
    """The compiled functions of a run."""

    train_step: Callable[..., Any]
    evaluated: Callable[..., Any] | None


def init(
    workload: Any,
    model_params: Any,
    hyperparameters: Any,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    *,
    views: Views | None = None,
) -> tuple[State, Functions]:
    """What ``init_optimizer_state`` returns: the state, and the compiled training step.

    Args:
      workload: the workload.
      model_params: the parameters.
      hyperparameters: the point of the search space.
      optimizer: makes of gradients what is added to the parameters. It is also given, as
        ``grad_fn(params, _)``, the gradient at other parameters.
      schedule: from the step, from 0, to the learning rate; for the record, the optimizer has its
        own.
      views: for optimizers that are judged by other parameters, with ``prepare_for_eval`` below.
    """
    grad_clip = getattr(hyperparameters, "grad_clip", None)
    if grad_clip is not None:
        optimizer = optax.chain(optax.clip_by_global_norm(grad_clip), optimizer)
        views = views and _of_second_state(views)
    label_smoothing = getattr(hyperparameters, "label_smoothing", 0.0)
    step = functools.partial(
        _train_step,
        functools.partial(_mean_loss, workload, label_smoothing),
        optax.with_extra_args_support(optimizer),
        schedule,
        views,
    )

    def initial(params: Any) -> State:
        return State(jnp.int32(0), jnp.asarray(False), optimizer.init(params))

    functions = Functions(
        train_step=jax.jit(step, donate_argnums=(0, 1, 2)),
        evaluated=views
        and jax.jit(functools.partial(_evaluated, views), donate_argnums=0, keep_unused=True),
    )
    # Unused values still say where to place the state: beside the parameters, so that
    # the first step needs no compilation of its own.
    return jax.jit(initial, keep_unused=True)(model_params), functions


def _of_second_state(views: Views) -> Views:
    """``views`` of an optimizer that comes second in a chain."""

    def evaluated(params: Any, state: Any) -> tuple[Any, Any]:
        params, second = views.evaluated(params, state[1])
        return params, (state[0], second)

    def trained(params: Any, state: Any, is_evaluated: jax.Array) -> tuple[Any, Any]:
        params, second = views.trained(params, state[1], is_evaluated)
        return params, (state[0], second)

    return Views(evaluated, trained)


def _mean_loss(
    workload: Any, label_smoothing: float, params: Any, model_state: Any, batch: Any, rng: Any
) -> tuple[jax.Array, Any]:
    """The mean loss over the valid examples of the global batch, and the new model state."""
    logits, model_state = workload.model_fn(
        params, batch, model_state, spec.ForwardPassMode.TRAIN, rng, update_batch_norm=True
    )
    loss = workload.loss_fn(
        label_batch=batch["targets"],
        logits_batch=logits,
        mask_batch=batch.get("weights"),
        label_smoothing=label_smoothing,
    )
    return loss["summed"] / loss["n_valid_examples"], model_state


def _train_step(
    mean_loss: Callable[..., Any],
    optimizer: optax.GradientTransformationExtraArgs,
    schedule: optax.Schedule,
    views: Views | None,
    params: Any,
    model_state: Any,
    state: State,
    batch: Any,
    rng: Any,
) -> tuple[Any, Any, State, dict[str, Any]]:
    optimizer_state = state.optimizer
    if views is not None:
        params, optimizer_state = views.trained(params, optimizer_state, state.is_evaluated)
    loss_and_grad = jax.value_and_grad(mean_loss, has_aux=True)

    def grad_fn(params: Any, _: Any = None) -> Any:
        return loss_and_grad(params, model_state, batch, rng)[1]

    (loss, new_model_state), grads = loss_and_grad(params, model_state, batch, rng)
    updates, optimizer_state = optimizer.update(grads, optimizer_state, params, grad_fn=grad_fn)
    metrics = {
        "loss": loss,
        "grad_norm": optax.tree.norm(grads),
        "learning_rate": schedule(state.step),
    }
    params = optax.apply_updates(params, updates)
    state = State(state.step + 1, jnp.asarray(False), optimizer_state)
    return params, new_model_state, state, metrics


def _evaluated(views: Views, params: Any, state: State) -> tuple[Any, State]:
    # Asked twice, the harness gets the same.
    params, optimizer_state = views.trained(params, state.optimizer, state.is_evaluated)
    params, optimizer_state = views.evaluated(params, optimizer_state)
    return params, State(state.step, jnp.asarray(True), optimizer_state)


def update_params(
    workload: Any,
    current_param_container: Any,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    batch: Any,
    loss_type: Any,
    optimizer_state: Any,
    eval_results: Any,
    global_step: int,
    rng: Any,
) -> Any:
    """One training step; nothing waits for the device."""
    state, functions = optimizer_state
    params, model_state, state, metrics = functions.train_step(
        current_param_container, model_state, state, batch, rng
    )
    if global_step % LOG_EVERY == 0 and workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics(metrics, global_step)
    return (state, functions), params, model_state


def prepare_for_eval(
    workload: Any,
    current_param_container: Any,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    loss_type: Any,
    optimizer_state: Any,
    eval_results: Any,
    global_step: int,
    rng: Any,
) -> Any:
    """Changes to the parameters that the algorithm is to be judged by: ``Views.evaluated``."""
    state, functions = optimizer_state
    params, state = functions.evaluated(current_param_container, state)
    return (state, functions), params, model_state


def is_hidden_matrix(workload: Any) -> Any:
    """A tree like the parameters: which are kernels of hidden layers, (..., inputs, outputs)."""

    def is_matrix(path: Any, role: spec.ParameterType) -> bool:
        name = ".".join(str(key.key) for key in path)
        return role in MATRIX_ROLES and not workload.is_output_params(name)

    return jax.tree_util.tree_map_with_path(is_matrix, workload.model_params_types)


def adamw(schedule: optax.Schedule, hyperparameters: Any) -> optax.GradientTransformation:
    """AdamW for submissions that have it at their core: see ``reference_submissions/adamw``."""
    return optax.adamw(
        schedule,
        b1=hyperparameters.beta1,
        b2=hyperparameters.beta2,
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
    )
