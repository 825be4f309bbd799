"""Schedule-Free AdamW: iterate averaging in place of a learning-rate schedule.

Gradients are taken at y, Adam's steps move z, and x, a weighted average of z, is evaluated. With v
the running second moment of the gradient, t = 1, 2, ... the step and lr_t a linear warm-up::

    y_t = (1 - b1) z_t + b1 x_t
    z_(t+1) = z_t - lr_t (g(y_t) / (sqrt(v_t / (1 - b2^t)) + eps) + weight_decay y_t)
    x_(t+1) = (1 - c_t) x_t + c_t z_(t+1)          c_t = lr_t^2 / (lr_1^2 + ... + lr_t^2)

The optimizer is in ``schedule_free.py``; the model holds y while it trains, and x from
``prepare_for_eval`` to the next step. Batch-norm statistics are those of y.

Source: Defazio et al., "The Road Less Scheduled", arXiv:2405.15682. As in optax, the bias of v is
corrected in v rather than in lr_t, so that c_t is free of it.
"""

import torch
import torch.distributed as dist

from finishline import spec

from .schedule_free import ScheduleFreeAdamW

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


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The optimizer; it has its own warm-up and needs no schedule."""
    optimizer = ScheduleFreeAdamW(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
        warmup_steps=int(hyperparameters.warmup_factor * workload.step_hint),
    )
    return {"optimizer": optimizer}


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
    optimizer_state["optimizer"].train()
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
    if global_step % LOG_EVERY == 0 and workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics({"loss": loss.detach()}, global_step)
    optimizer_state["optimizer"].step()
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
    optimizer_state["optimizer"].eval()
    return optimizer_state, current_param_container, model_state


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
