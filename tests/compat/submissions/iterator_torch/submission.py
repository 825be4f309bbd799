"""The batch is the iterator itself: one update takes several; averages wait in a queue."""

import copy
import math
from collections import deque

import torch
from algorithmic_efficiency import spec
from algorithmic_efficiency.pytorch_utils import pytorch_setup

USE_PYTORCH_DDP = pytorch_setup()[0]


class Averages:
    """The newest parameters; has no state_dict."""

    def __init__(self, length):
        self.queue = deque(maxlen=length)

    def push(self, model):
        self.queue.append([p.detach().clone() for p in model.parameters()])

    def mean(self):
        return [torch.stack(tensors).mean(dim=0) for tensors in zip(*self.queue)]  # noqa: B905


def get_batch_size(workload_name):
    return {"ogbg": 512, "mnist": 16}[workload_name]


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {
        "optimizer": torch.optim.AdamW(model_params.parameters(), lr=0.003),
        "averages": Averages(2),
        "training": None,
        "step": 0,
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
    model, optimizer = current_param_container, optimizer_state["optimizer"]
    if optimizer_state["training"] is not None:
        for p, value in zip(model.parameters(), optimizer_state["training"], strict=True):
            p.data.copy_(value)
    share = 0.25 * workload.eval_period_time_sec / workload.max_allowed_runtime_sec
    model.train()
    for _ in range(max(2, math.ceil(share * workload.step_hint))):
        inputs = next(batch)
        optimizer.zero_grad()
        logits, model_state = workload.model_fn(
            params=model,
            augmented_and_preprocessed_input_batch=inputs,
            model_state=model_state,
            mode=spec.ForwardPassMode.TRAIN,
            rng=rng,
            update_batch_norm=True,
        )
        losses = workload.loss_fn(
            label_batch=inputs["targets"], logits_batch=logits, mask_batch=inputs.get("weights")
        )
        (losses["summed"] / losses["n_valid_examples"]).backward()
        optimizer.step()
        optimizer_state["step"] += 1
    optimizer_state["averages"].push(model)
    optimizer_state["training"] = copy.deepcopy([p.detach() for p in model.parameters()])
    for p, value in zip(model.parameters(), optimizer_state["averages"].mean(), strict=True):
        p.data.copy_(value)
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
    return input_queue
