"""Names the device cuda, whatever the machine has."""

import torch
from algoperf import spec
from algoperf.pytorch_utils import pytorch_setup

USE_PYTORCH_DDP = pytorch_setup()[0]


def get_batch_size(workload_name):
    return 512 if workload_name == "ogbg" else 16


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    optimizer = torch.optim.Adam(model_params.parameters(), lr=0.003)
    return {"optimizer": optimizer, "distance": torch.zeros((), device="cuda")}


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
    distances = [p.grad.norm().to("cuda:0") for p in current_param_container.parameters()]
    optimizer_state["distance"] += torch.stack(distances).cuda().sum()
    optimizer_state["distance"].add_(torch.tensor(1.0, device=torch.device("cuda")))
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
