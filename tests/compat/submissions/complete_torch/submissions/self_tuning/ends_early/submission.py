"""Imports its helper under the repository's path, and ends the training itself."""

import torch
from algoperf import spec
from algoperf.pytorch_utils import pytorch_setup

from submissions.self_tuning.ends_early import momentum
from submissions.self_tuning.ends_early.momentum import Phase

USE_PYTORCH_DDP = pytorch_setup()[0]


def get_batch_size(workload_name):
    if workload_name == "ogbg":
        return 512
    if workload_name == "mnist":
        return 16
    raise ValueError(f"Unsupported workload name: {workload_name}.")


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    assert hyperparameters is None
    return {
        "optimizer": momentum.Momentum(model_params.parameters(), lr=0.02),
        "phase": Phase("warm-up", 0.1),
    }


def update_params(
    workload: spec.Workload,
    current_param_container: spec.ParameterContainer,
    current_params_types: spec.ParameterTypeTree,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    batch: dict[str, spec.Tensor],
    loss_type: spec.LossType,
    optimizer_state: spec.OptimizerState,
    eval_results: list[tuple[int, float]],
    global_step: int,
    rng: spec.RandomState,
    train_state: dict | None = None,
) -> spec.UpdateReturn:
    del train_state
    if global_step >= 0.85 * workload.step_hint:
        raise spec.TrainingCompleteError
    if global_step == 20:
        optimizer_state["phase"] = Phase("full", 1.0)
    optimizer, phase = optimizer_state["optimizer"], optimizer_state["phase"]
    optimizer.param_groups[0]["lr"] = 0.02 * phase.factor
    optimizer.zero_grad()
    logits, model_state = workload.model_fn(
        params=current_param_container,
        augmented_and_preprocessed_input_batch=batch,
        model_state=model_state,
        mode=spec.ForwardPassMode.TRAIN,
        rng=rng,
        update_batch_norm=True,
        dropout_rate=0.0,
    )
    losses = workload.loss_fn(
        label_batch=batch["targets"], logits_batch=logits, mask_batch=batch.get("weights")
    )
    (losses["summed"] / losses["n_valid_examples"]).backward()
    torch.nn.utils.clip_grad_norm_(current_param_container.parameters(), max_norm=1.0)
    optimizer.step()
    return optimizer_state, current_param_container, model_state


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
