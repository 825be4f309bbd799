"""One training step in PyTorch, as a submission and as a bare loop. See ``overhead.py``."""

import os
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from finishline import spec

BATCH_SIZE = int(os.environ.get("BENCH_BATCH_SIZE", "64"))
# So small that no target is reached: the benchmark measures speed alone.
LEARNING_RATE = 1e-7


def get_batch_size(workload_name):
    """The size that the benchmark asks for."""
    return BATCH_SIZE


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """Adam."""
    return {"optimizer": torch.optim.Adam(model_params.parameters(), lr=LEARNING_RATE, fused=True)}


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
    """One step."""
    optimizer = optimizer_state["optimizer"]
    optimizer.zero_grad()
    logits, _ = workload.model_fn(
        current_param_container, batch, model_state, spec.ForwardPassMode.TRAIN, rng, True
    )
    loss = workload.loss_fn(batch["targets"], logits)
    (loss["summed"] / loss["n_valid_examples"]).backward()
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
    """The next batch."""
    return next(input_queue)


def bare_loop(definition, data_dir: Path, batch_size: int, num_steps: int) -> float:
    """Steps per second of the same training without the harness."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    source = definition.dataset.open(data_dir, "train")
    inputs = torch.from_numpy(source.arrays["inputs"].copy())
    targets = torch.from_numpy(source.arrays["targets"].copy())
    model = definition.build_model("pytorch").to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    is_classification = definition.loss_type is spec.LossType.SOFTMAX_CROSS_ENTROPY
    order, position, started = torch.randperm(len(source)), 0, 0.0
    warm_up = num_steps // 10
    for step in range(num_steps + warm_up):
        if step == warm_up:
            _synchronize(device)
            started = time.perf_counter()
        if position + batch_size > len(order):
            order, position = torch.randperm(len(source)), 0
        chosen = order[position : position + batch_size]
        position += batch_size
        batch = {"inputs": inputs[chosen].to(device), "targets": targets[chosen].to(device)}
        optimizer.zero_grad()
        logits = model(batch, dropout_rate=definition.dropout_rate)
        if is_classification:
            loss = F.cross_entropy(logits, batch["targets"].long())
        else:
            loss = (logits - batch["targets"]).abs().mean()
        loss.backward()
        optimizer.step()
    _synchronize(device)
    return num_steps / (time.perf_counter() - started)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
