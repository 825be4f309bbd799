"""The optimizer state is made of closures, one of which counts."""

import torch
from algoperf import spec
from algoperf.pytorch_utils import pytorch_setup

USE_PYTORCH_DDP = pytorch_setup()[0]


def get_batch_size(workload_name):
    return 512 if workload_name == "ogbg" else 16


def make_schedule(peak, length):
    count = 0

    def rate():
        nonlocal count
        count += 1
        return peak * max(0.05, 1 - count / length)

    return rate


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    optimizer = torch.optim.Adam(model_params.parameters())

    def parameters():
        return model_params.parameters()

    return {
        "optimizer": optimizer,
        "rate": make_schedule(0.003, workload.step_hint),
        "parameters": parameters,
        "clip": lambda norm: min(1.0, 1.0 / (norm + 1e-6)),
    }


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
    optimizer = optimizer_state["optimizer"]
    for group in optimizer.param_groups:
        group["lr"] = optimizer_state["rate"]()
    optimizer.zero_grad()
    logits, model_state = workload.model_fn(
        params=current_param_container,
        augmented_and_preprocessed_input_batch=batch,
        model_state=model_state,
        mode=spec.ForwardPassMode.TRAIN,
        rng=rng,
        update_batch_norm=True,
    )
    losses = workload.loss_fn(
        label_batch=batch["targets"], logits_batch=logits, mask_batch=batch.get("weights")
    )
    (losses["summed"] / losses["n_valid_examples"]).backward()
    gradients = [p.grad for p in optimizer_state["parameters"]()]
    scale = optimizer_state["clip"](torch.nn.utils.get_total_norm(gradients))
    for gradient in gradients:
        gradient.mul_(scale)
    optimizer.step()
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
    return next(input_queue)
