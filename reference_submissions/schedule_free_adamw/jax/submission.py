"""Schedule-Free AdamW: iterate averaging in place of a learning-rate schedule.

Gradients are taken at y, Adam's steps move z, and x, a weighted average of z, is evaluated. With v
the running second moment of the gradient, t = 1, 2, ... the step and lr_t a linear warm-up::

    y_t = (1 - b1) z_t + b1 x_t
    z_(t+1) = z_t - lr_t (g(y_t) / (sqrt(v_t / (1 - b2^t)) + eps) + weight_decay y_t)
    x_(t+1) = (1 - c_t) x_t + c_t z_(t+1)          c_t = lr_t^2 / (lr_1^2 + ... + lr_t^2)

Training keeps y in the parameters and z in the optimizer state. ``prepare_for_eval`` returns x; as
y follows from x and z, the next training step takes it back. Batch-norm statistics are those of y.

Source: Defazio et al., "The Road Less Scheduled", arXiv:2405.15682. As in optax, the bias of v is
corrected in v rather than in lr_t, so that c_t is free of it.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from finishline import spec

BATCH_SIZES = {
    "criteo1tb": 262144,
    "criteo1tb_mini": 512,
    "fastmri": 32,
    "imagenet_resnet": 1024,
    "imagenet_vit": 1024,
    "librispeech_conformer": 256,
    "librispeech_deepspeech": 256,
    "mnist": 16,
    "ogbg": 512,
    "quadratic_deep": 128,
    "wmt": 128,
}
LOG_EVERY = 100


def get_batch_size(workload_name):
    """The global batch size; 64 for workloads that are not in the table."""
    return BATCH_SIZES.get(workload_name, 64)


class State(NamedTuple):
    """What is needed besides the parameters, all of it arrays."""

    schedule_free: Any  # optax.contrib.ScheduleFreeState, with z
    is_eval: jax.Array  # whether the parameters are x; y otherwise


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """z and the second moments, and the two jitted functions."""
    optimizer = schedule_free_adamw(hyperparameters, workload.step_hint)
    label_smoothing = getattr(hyperparameters, "label_smoothing", 0.0)
    train_step = jax.jit(
        functools.partial(_train_step, workload, optimizer, label_smoothing),
        donate_argnums=(0, 1, 2),
    )

    def init(params):
        return State(optimizer.init(params), jnp.asarray(False))

    return jax.jit(init)(model_params), train_step, jax.jit(_eval_params, donate_argnums=0)


def schedule_free_adamw(hyperparameters, step_hint):
    """``optax.contrib.schedule_free_adamw`` with the paper's warm-up lr_t = lr min(t / T, 1).

    optax's own runs one step late, starting with lr_1 = 0.
    """
    warmup_steps = max(1, int(hyperparameters.warmup_factor * step_hint))
    schedule = optax.linear_schedule(0.0, hyperparameters.learning_rate, warmup_steps)
    adamw_without_momentum = optax.chain(
        optax.scale_by_rms(
            hyperparameters.beta2, eps=1e-8, eps_in_sqrt=False, bias_correction=True
        ),
        optax.add_decayed_weights(hyperparameters.weight_decay),
        optax.scale_by_learning_rate(lambda count: schedule(count + 1)),  # counts from 0
    )
    return optax.contrib.schedule_free(  # counts from 1
        adamw_without_momentum, learning_rate=schedule, b1=hyperparameters.beta1
    )


def _train_params(params, state):
    """y, from x or y: y = x + (1 - b1) (z - x)."""
    b1, z = state.schedule_free.b1, state.schedule_free.z
    weight = jnp.where(state.is_eval, 1.0 - b1, 0.0)
    return jax.tree.map(lambda p, z: p + weight * (z - p), params, z)


def _eval_params(params, state):
    """x, from x or y, and the state that says so."""
    params = optax.contrib.schedule_free_eval_params(
        state.schedule_free, _train_params(params, state)
    )
    return params, State(state.schedule_free, jnp.asarray(True))


def _train_step(workload, optimizer, label_smoothing, params, model_state, state, batch, rng):
    """One step on the mean loss over the valid examples of the global batch."""
    params = _train_params(params, state)

    def mean_loss(params):
        logits, new_model_state = workload.model_fn(
            params, batch, model_state, spec.ForwardPassMode.TRAIN, rng, update_batch_norm=True
        )
        loss = workload.loss_fn(
            label_batch=batch["targets"],
            logits_batch=logits,
            mask_batch=batch.get("weights"),
            label_smoothing=label_smoothing,
        )
        return loss["summed"] / loss["n_valid_examples"], new_model_state

    (loss, model_state), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
    updates, schedule_free = optimizer.update(grads, state.schedule_free, params)
    metrics = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
    params = optax.apply_updates(params, updates)
    return params, model_state, State(schedule_free, jnp.asarray(False)), metrics


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
    """One training step; nothing waits for the device."""
    state, train_step, eval_params = optimizer_state
    params, model_state, state, metrics = train_step(
        current_param_container, model_state, state, batch, rng
    )
    if global_step % LOG_EVERY == 0 and workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics(metrics, global_step)
    return (state, train_step, eval_params), params, model_state


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
    """Swaps y for the average x, which is what the method is to be judged by."""
    state, train_step, eval_params = optimizer_state
    params, state = eval_params(current_param_container, state)
    return (state, train_step, eval_params), params, model_state


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
    """The next batch of the shuffled training set."""
    return next(input_queue)
