"""Two forward passes a step: the first moves the statistics of batch norm, the second does not."""

import torch
from algoperf import spec
from algoperf.pytorch_utils import pytorch_setup

USE_PYTORCH_DDP, RANK, DEVICE, N_GPUS = pytorch_setup()


def get_batch_size(workload_name):
    if workload_name == "ogbg":
        return 512
    if workload_name == "mnist":
        return 16
    raise ValueError(f"Unsupported workload name: {workload_name}.")


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    has_statistics = any(hasattr(module, "running_mean") for module in model_params.modules())
    optimizer = torch.optim.AdamW(
        [{"params": [p]} for _, p in model_params.named_parameters() if p.requires_grad], lr=0.002
    )
    return {
        "optimizer": optimizer,
        "has_statistics": has_statistics,
        "best": (0, None),
        "start": [p.data.cpu() for p in model_params.parameters()],  # on the CPU, no copies
    }


def forward(workload, model, batch, rng, update_batch_norm):
    return workload.model_fn(
        params=model,
        augmented_and_preprocessed_input_batch=batch,
        model_state=None,
        mode=spec.ForwardPassMode.TRAIN,
        rng=rng,
        update_batch_norm=update_batch_norm,
    )[0]


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
    model = current_param_container
    if eval_results:
        optimizer_state["best"] = (
            eval_results[-1][0],
            eval_results[-1][1][f"validation/{workload.target_metric_name}"],
        )
    if optimizer_state["has_statistics"]:
        with torch.no_grad():
            forward(workload, model, batch, rng, update_batch_norm=True)
    optimizer_state["optimizer"].zero_grad()
    logits = forward(workload, model, batch, rng, update_batch_norm=False)
    losses = workload.loss_fn(
        label_batch=batch["targets"], logits_batch=logits, mask_batch=batch.get("weights")
    )
    (losses["summed"] / losses["n_valid_examples"]).backward()
    optimizer_state["optimizer"].step()
    return optimizer_state, model, model_state


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
