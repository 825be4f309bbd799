"""NAdamW: Adam with Nesterov momentum and decoupled weight decay, under a cosine schedule.

With g the gradient, m and v its running first and second moments and t = 1, 2, ... the step::

    m <- b1 m + (1 - b1) g            v <- b2 v + (1 - b2) g^2
    u  = b1 m / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)
    w <- w - lr (u / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w)

``torch.optim.NAdam`` also lets b1 grow, as b1_t = b1 (1 - 0.5 * 0.96^(momentum_decay t)).
An infinite ``momentum_decay`` makes it constant, and thereby equal to ``optax.nadamw``.

Sources: Dozat, "Incorporating Nesterov Momentum into Adam" (2016); Loshchilov and Hutter,
"Decoupled Weight Decay Regularization", arXiv:1711.05101.
"""

import math

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


def learning_rate_factor(step, warmup_steps, decay_steps):
    """Linear warm-up from 0, then a cosine to 0 at ``decay_steps``; 1 at the peak."""
    if step < warmup_steps:
        return step / warmup_steps
    progress = min((step - warmup_steps) / (decay_steps - warmup_steps), 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer and its learning-rate schedule."""
    optimizer = torch.optim.NAdam(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
        decoupled_weight_decay=True,
        momentum_decay=math.inf,
    )
    warmup_steps = int(hyperparameters.warmup_factor * workload.step_hint)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, warmup_steps, workload.step_hint)
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
