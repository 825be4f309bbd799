"""Momentum: SGD with the heavy ball, under a linear warm-up and a linear decay.

With g the gradient and b the momentum buffer::

    b <- momentum b + g + weight_decay w
    w <- w - lr b

Sources: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964);
Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013).
"""

import functools

import jax
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


def learning_rate_schedule(hyperparameters, step_hint):
    """Linear warm-up from 0, linear decay to ``end_factor`` of the peak, then constant."""
    warmup_steps = int(hyperparameters.warmup_factor * step_hint)
    peak = hyperparameters.learning_rate
    warmup = optax.linear_schedule(0.0, peak, warmup_steps)
    decay = optax.polynomial_schedule(
        init_value=peak,
        end_value=peak * hyperparameters.end_factor,
        power=1,
        transition_steps=int(hyperparameters.decay_steps_factor * step_hint) - warmup_steps,
    )
    return optax.join_schedules([warmup, decay], boundaries=[warmup_steps])


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The momentum buffers, and the jitted training step."""
    optimizer = optax.chain(
        optax.add_decayed_weights(hyperparameters.weight_decay),
        optax.sgd(
            learning_rate_schedule(hyperparameters, workload.step_hint),
            momentum=hyperparameters.momentum,
        ),
    )
    if hasattr(hyperparameters, "grad_clip"):
        optimizer = optax.chain(optax.clip_by_global_norm(hyperparameters.grad_clip), optimizer)
    label_smoothing = getattr(hyperparameters, "label_smoothing", 0.0)
    train_step = jax.jit(
        functools.partial(_train_step, workload, optimizer, label_smoothing),
        donate_argnums=(0, 1, 2),
    )
    # Unused values still say where to place the state: beside the parameters, so that
    # the first step needs no compilation of its own.
    init = jax.jit(optimizer.init, keep_unused=True)
    return init(model_params), train_step


def _train_step(workload, optimizer, label_smoothing, params, model_state, state, batch, rng):
    """One step on the mean loss over the valid examples of the global batch."""

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
    """One training step; nothing waits for the device."""
    state, train_step = optimizer_state
    params, model_state, state, metrics = train_step(
        current_param_container, model_state, state, batch, rng
    )
    if global_step % LOG_EVERY == 0 and workload.metrics_logger is not None:
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
    """The next batch of the shuffled training set."""
    return next(input_queue)
