"""Momentum: SGD with the heavy ball, under a linear warm-up and a linear decay.

With g the gradient and b the momentum buffer::

    b <- momentum b + g + weight_decay w
    w <- w - lr b

Sources: Polyak, "Some methods of speeding up the convergence of iteration methods" (1964);
Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013).
"""

import torch
import torch.distributed as dist

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


def learning_rate_factor(step, warmup_steps, decay_steps, end_factor):
    """Linear warm-up from 0 to 1, linear decay to ``end_factor``, then constant."""
    if step < warmup_steps:
        return step / warmup_steps
    progress = min((step - warmup_steps) / (decay_steps - warmup_steps), 1.0)
    return 1.0 + progress * (end_factor - 1.0)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = torch.optim.SGD(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        momentum=hyperparameters.momentum,
        weight_decay=hyperparameters.weight_decay,
        fused=True,
    )
    warmup_steps = int(hyperparameters.warmup_factor * workload.step_hint)
    decay_steps = int(hyperparameters.decay_steps_factor * workload.step_hint)
    end_factor = hyperparameters.end_factor
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, warmup_steps, decay_steps, end_factor)
    )
    return {"optimizer": optimizer, "scheduler": scheduler}


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
    """One step on the mean loss over the valid examples of the global batch."""
    model = current_param_container
    optimizer_state["optimizer"].zero_grad()
    logits, model_state = workload.model_fn(
        params=model,
        augmented_and_preprocessed_input_batch=batch,
        model_state=model_state,
        mode=spec.ForwardPassMode.TRAIN,
        rng=rng,
        update_batch_norm=True,
    )
    loss = mean_loss(workload, batch, logits, getattr(hyperparameters, "label_smoothing", 0.0))
    loss.backward()
    if hasattr(hyperparameters, "grad_clip"):
        torch.nn.utils.clip_grad_norm_(model.parameters(), hyperparameters.grad_clip)
    if global_step % LOG_EVERY == 0 and workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics({"loss": loss.detach()}, global_step)
    optimizer_state["optimizer"].step()
    optimizer_state["scheduler"].step()
    return optimizer_state, model, model_state


def mean_loss(workload, batch, logits, label_smoothing):
    """This rank's share of the mean loss.

    DDP averages the ranks' gradients. Dividing each rank's sum by the mean number of valid
    examples per rank makes that average the gradient of the mean over the global batch.
    """
    loss = workload.loss_fn(
        label_batch=batch["targets"],
        logits_batch=logits,
        mask_batch=batch.get("weights"),
        label_smoothing=label_smoothing,
    )
    n_valid_examples = loss["n_valid_examples"]
    if dist.is_available() and dist.is_initialized():
        n_valid_examples = n_valid_examples.to(torch.float32, copy=True)
        dist.all_reduce(n_valid_examples)
        n_valid_examples /= dist.get_world_size()
    return loss["summed"] / n_valid_examples


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
