"""A template: AdamW whose learning rate falls to zero in a straight line. Change what you like.

A submission is four functions, in any file, plus ``prepare_for_eval`` if evaluation needs other
parameters than training. Everything in them runs on the clock, the import of this file included.
"""

import torch
import torch.distributed as dist

from finishline import spec


def get_batch_size(workload_name):
    """The global batch size; a submission may choose another for every workload."""
    return {"mnist": 16, "quadratic_deep": 128}.get(workload_name, 64)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """Called once. Whatever it returns comes back as ``optimizer_state`` in the first step.

    ``model_params`` is an ``nn.Module``, wrapped in DistributedDataParallel on several devices.
    ``hyperparameters`` is a named tuple with a point of ``tuning_search_space.json``; without that
    file (self-tuning) it is None. ``workload.step_hint`` is the number of steps to plan for.
    """
    optimizer = torch.optim.AdamW(
        model_params.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(0.9, hyperparameters.beta2),
        weight_decay=hyperparameters.weight_decay,
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: max(0.0, 1.0 - step / workload.step_hint)
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
    """One training step. Raise ``spec.TrainingCompleteError`` to stop before the budget is spent.

    ``batch`` has 'inputs', 'targets' and, if some examples do not count, 'weights'.
    ``eval_results`` lists (step, metrics) of all evaluations.
    """
    optimizer_state["optimizer"].zero_grad()
    logits, model_state = workload.model_fn(
        params=current_param_container,
        augmented_and_preprocessed_input_batch=batch,
        model_state=model_state,
        mode=spec.ForwardPassMode.TRAIN,
        rng=rng,
        update_batch_norm=True,
    )
    loss = workload.loss_fn(batch["targets"], logits, batch.get("weights"))
    n_valid_examples = loss["n_valid_examples"]
    # Each rank sees its part of the batch, and DDP averages the gradients over the ranks.
    if dist.is_available() and dist.is_initialized():
        n_valid_examples = n_valid_examples.to(torch.float32, copy=True)
        dist.all_reduce(n_valid_examples)
        n_valid_examples /= dist.get_world_size()
    mean_loss = loss["summed"] / n_valid_examples
    mean_loss.backward()
    optimizer_state["optimizer"].step()
    optimizer_state["scheduler"].step()
    # Give the logger tensors, not floats: mean_loss.item() would wait for the device.
    if global_step % 100 == 0 and workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics({"loss": mean_loss.detach()}, global_step)
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
    """The batch for one step. ``input_queue`` is an endless iterator over the training data."""
    return next(input_queue)
