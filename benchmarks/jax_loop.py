"""One training step in JAX, as a submission and as a bare loop. See ``benchmarks/overhead.py``."""

import os
import time
from pathlib import Path

import jax
import optax

from finishline import spec

BATCH_SIZE = int(os.environ.get("BENCH_BATCH_SIZE", "64"))
# So small that no target is reached: the benchmark measures speed alone.
LEARNING_RATE = 1e-7


def get_batch_size(workload_name):
    """The size that the benchmark asks for."""
    return BATCH_SIZE


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """Adam, and the jitted step."""
    optimizer = optax.adam(LEARNING_RATE)

    def train_step(params, model_state, state, batch, rng):
        def mean_loss(params):
            logits, new_model_state = workload.model_fn(
                params, batch, model_state, spec.ForwardPassMode.TRAIN, rng, True
            )
            loss = workload.loss_fn(batch["targets"], logits)
            return loss["summed"] / loss["n_valid_examples"], new_model_state

        grads, model_state = jax.grad(mean_loss, has_aux=True)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), model_state, state

    return optimizer.init(model_params), jax.jit(train_step, donate_argnums=(0, 1, 2))


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
    """One step."""
    state, train_step = optimizer_state
    params, model_state, state = train_step(current_param_container, model_state, state, batch, rng)
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
    """The next batch."""
    return next(input_queue)


def bare_loop(definition, data_dir: Path, batch_size: int, num_steps: int) -> float:
    """Steps per second of the same training without the harness."""
    import numpy as np

    source = definition.dataset.open(data_dir, "train")
    arrays = source.arrays
    model = definition.build_model("jax")
    rate = definition.dropout_rate
    example = {name: array[:1] for name, array in arrays.items()}
    variables = model.init(jax.random.key(0), example, train=False, dropout_rate=0.0)
    params, model_state = variables["params"], {k: v for k, v in variables.items() if k != "params"}
    optimizer = optax.adam(LEARNING_RATE)
    state = optimizer.init(params)
    is_classification = definition.loss_type is spec.LossType.SOFTMAX_CROSS_ENTROPY

    def train_step(params, model_state, state, inputs, targets, step):
        def mean_loss(params):
            logits, updated = model.apply(
                {"params": params, **model_state},
                {"inputs": inputs, "targets": targets},
                train=True,
                dropout_rate=rate,
                rngs={"dropout": jax.random.fold_in(jax.random.key(1), step)},
                mutable=list(model_state),
            )
            if is_classification:
                losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
            else:
                losses = abs(logits - targets)
            return losses.mean(), updated

        grads, model_state = jax.grad(mean_loss, has_aux=True)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), model_state, state

    train_step = jax.jit(train_step, donate_argnums=(0, 1, 2))
    rng = np.random.default_rng(0)
    order, position, started = rng.permutation(len(source)), 0, 0.0
    warm_up = num_steps // 10
    for step in range(num_steps + warm_up):
        if step == warm_up:
            jax.block_until_ready(params)
            started = time.perf_counter()
        if position + batch_size > len(order):
            order, position = rng.permutation(len(source)), 0
        chosen = order[position : position + batch_size]
        position += batch_size
        params, model_state, state = train_step(
            params, model_state, state, arrays["inputs"][chosen], arrays["targets"][chosen], step
        )
    jax.block_until_ready(params)
    return num_steps / (time.perf_counter() - started)
