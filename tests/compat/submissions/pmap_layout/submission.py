"""Signatures and names of 0.5: arrays with a device axis, names that JAX has removed."""

import functools
from typing import Any, Dict, Iterator, List, Tuple  # noqa: UP035

import jax
import jax.numpy as jnp
import optax
from algorithmic_efficiency import spec
from flax import jax_utils
from jax import lax

HPARAMS_SMOOTHING = 0.0


def get_batch_size(workload_name):
    if workload_name == "criteo1tb":
        return 262_144
    if workload_name == "ogbg":
        return 512
    if workload_name == "mnist":
        return 16
    raise ValueError(f"Unsupported workload name: {workload_name}.")


def init_optimizer_state(
    workload: spec.Workload,
    model_params: spec.ParameterContainer,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    rng: spec.RandomState,
) -> spec.OptimizerState:
    del model_params, model_state, rng
    schedule = optax.warmup_cosine_decay_schedule(
        0.0,
        hyperparameters.learning_rate,
        int(0.05 * workload.step_hint),
        workload.step_hint,
    )
    optimizer = optax.adamw(schedule, b1=1.0 - hyperparameters.one_minus_beta1)
    zeros = jax.tree_map(lambda s: jnp.zeros(s.shape_tuple), workload.param_shapes)
    return jax_utils.replicate(optimizer.init(zeros)), optimizer.update


@functools.partial(
    jax.pmap,
    axis_name="batch",
    in_axes=(None, None, 0, 0, 0, 0, 0, None),
    static_broadcasted_argnums=(0, 1),
    donate_argnums=(2, 3, 4),
)
def train_step(workload, update_fn, model_state, optimizer_state, params, batch, rng, grad_clip):
    def loss_of(params):
        logits, new_state = workload.model_fn(
            params, batch, model_state, spec.ForwardPassMode.TRAIN, rng, update_batch_norm=True
        )
        losses = workload.loss_fn(
            label_batch=batch["targets"],
            logits_batch=logits,
            mask_batch=batch.get("weights"),
            label_smoothing=HPARAMS_SMOOTHING,
        )
        return losses["summed"], (losses["n_valid_examples"], new_state)

    (summed, (count, new_state)), grad = jax.value_and_grad(loss_of, has_aux=True)(params)
    summed, count, grad = lax.psum((summed, count, grad), axis_name="batch")
    grad = jax.tree_map(lambda g: g / count, grad)
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree_leaves(grad)))
    scale = jnp.clip(grad_clip / (norm + 1e-6), a_min=0.0, a_max=1.0)
    grad = jax.tree_map(lambda g: g * scale, grad)
    updates, optimizer_state = update_fn(grad, optimizer_state, params)
    return optimizer_state, optax.apply_updates(params, updates), new_state, summed / count, norm


def update_params(
    workload: spec.Workload,
    current_param_container: spec.ParameterContainer,
    current_params_types: spec.ParameterTypeTree,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    batch: Dict[str, spec.Tensor],  # noqa: UP006
    loss_type: spec.LossType,
    optimizer_state: spec.OptimizerState,
    eval_results: List[Tuple[int, float]],  # noqa: UP006
    global_step: int,
    rng: spec.RandomState,
) -> spec.UpdateReturn:
    del current_params_types, loss_type, eval_results
    state, update_fn = optimizer_state
    grad_clip = hyperparameters.grad_clip if hasattr(hyperparameters, "grad_clip") else 1e9
    state, params, model_state, loss, norm = train_step(
        workload,
        update_fn,
        model_state,
        state,
        current_param_container,
        batch,
        jax.random.split(rng, jax.local_device_count()),
        grad_clip,
    )
    if global_step % 50 == 0 and workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics(
            {"loss": loss[0], "grad_norm": norm[0]}, global_step
        )
    return (state, update_fn), params, model_state


def data_selection(
    workload: spec.Workload,
    input_queue: Iterator[Dict[str, Any]],  # noqa: UP006
    optimizer_state: spec.OptimizerState,
    current_param_container: spec.ParameterContainer,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    global_step: int,
    rng: spec.RandomState,
) -> Dict[str, spec.Tensor]:  # noqa: UP006
    return next(input_queue)
