"""Signatures and names of 0.6: shardings for jax.jit, donation, a named tuple as state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from algoperf import jax_sharding_utils, spec

HPARAMS = {"learning_rate": 0.003, "beta1": 0.9, "beta2": 0.99, "dropout_rate": 0.1}


class Moments(NamedTuple):
    count: jax.Array
    mu: optax.Updates
    nu: optax.Updates


def scale_by_moments(b1, b2):
    def init(params):
        mu, nu = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
        return Moments(jnp.zeros([], jnp.int32), mu, nu)

    def update(grads, state, params=None):
        del params
        mu = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, grads)
        nu = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, grads)
        count = state.count + 1
        scales = 1 - b1**count, 1 - b2**count
        updates = jax.tree.map(
            lambda m, v: (m / scales[0]) / (jnp.sqrt(v / scales[1]) + 1e-8), mu, nu
        )
        return updates, Moments(count, mu, nu)

    return optax.GradientTransformation(init, update)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    del hyperparameters, rng
    schedule = optax.cosine_decay_schedule(HPARAMS["learning_rate"], workload.step_hint)
    optimizer = optax.chain(
        scale_by_moments(HPARAMS["beta1"], HPARAMS["beta2"]), optax.scale_by_learning_rate(schedule)
    )
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape_tuple), workload.param_shapes)
    state = jax.device_put(optimizer.init(zeros), jax_sharding_utils.get_replicate_sharding())
    return state, optimizer.update


def step(workload, update_fn, params, model_state, state, batch, rng, dropout_rate, smoothing):
    def loss_of(params):
        logits, new_state = workload.model_fn(
            params,
            batch,
            model_state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
            dropout_rate=dropout_rate,
        )
        losses = workload.loss_fn(
            label_batch=batch["targets"],
            logits_batch=logits,
            mask_batch=batch.get("weights"),
            label_smoothing=smoothing,
        )
        return losses["summed"] / losses["n_valid_examples"], new_state

    (loss, model_state), grad = jax.value_and_grad(loss_of, has_aux=True)(params)
    norm = optax.global_norm(grad)
    scale = jnp.clip(1.0 / (norm + 1e-6), a_max=1.0)
    grad = jax.tree.map(lambda g: g * scale, grad)
    updates, state = update_fn(grad, state, params)
    return optax.apply_updates(params, updates), model_state, state, loss, norm


def update_params(
    workload: spec.Workload,
    current_param_container: spec.ParameterContainer,
    current_params_types: spec.ParameterTypeTree,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    batch: dict[str, spec.Tensor],
    loss_type: spec.LossType,
    optimizer_state: spec.OptimizerState,
    eval_results: list[tuple[int, float]],
    global_step: int,
    rng: spec.RandomState,
    train_state: dict | None = None,
) -> spec.UpdateReturn:
    del train_state
    state, update_fn = optimizer_state
    replicated = jax_sharding_utils.get_replicate_sharding()
    sharded = jax_sharding_utils.get_batch_dim_sharding()
    jitted = jax.jit(
        step,
        static_argnums=(0, 1),
        donate_argnums=(2, 3, 4),
        in_shardings=(replicated, replicated, replicated, sharded, *[replicated] * 3),
        out_shardings=replicated,
    )
    params, model_state, state, loss, norm = jitted(
        workload,
        update_fn,
        current_param_container,
        model_state,
        state,
        batch,
        rng,
        HPARAMS["dropout_rate"],
        0.1,
    )
    if global_step % 50 == 0 and workload.metrics_logger is not None:
        scalars = {"loss": loss, "grad_norm": norm}
        workload.metrics_logger.append_scalar_metrics(scalars, global_step)
    return (state, update_fn), params, model_state


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
    return optimizer_state, current_param_container, model_state


def get_batch_size(workload_name):
    sizes = {"criteo1tb": 262_144, "ogbg": 512, "mnist": 16}
    if workload_name not in sizes:
        raise ValueError(f"Unsupported workload name: {workload_name}.")
    return sizes[workload_name]


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
    return next(input_queue)
