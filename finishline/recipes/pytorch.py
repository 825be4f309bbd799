"""What nearly all training algorithms in PyTorch share: everything but the optimizer.

A submission brings a ``torch.optim.Optimizer`` and takes the rest from here::

    from finishline.recipes import pytorch as recipe
    from finishline.recipes.pytorch import data_selection, get_batch_size, update_params

    def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
        optimizer = torch.optim.AdamW(model_params.parameters(), lr=hyperparameters.learning_rate)
        return recipe.init(recipe.warmup_cosine(hyperparameters, workload.step_hint), optimizer)

Two hyperparameters act if the search space has them: ``grad_clip``, the largest norm of a gradient,
and ``label_smoothing``. ``loss``, ``grad_norm`` and ``learning_rate`` go to the record every 100
steps.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist

from finishline import spec
from finishline.recipes.batches import data_selection, get_batch_size
from finishline.recipes.pytorch_schedules import (
    constant_after_warmup,
    warmup_cosine,
    warmup_linear,
)
from finishline.recipes.roles import MATRIX_ROLES

__all__ = [
    "Beside",
    "adamw",
    "backward",
    "constant_after_warmup",
    "data_selection",
    "get_batch_size",
    "hidden_matrices_and_others",
    "init",
    "prepare_for_eval",
    "step",
    "update_params",
    "warmup_cosine",
    "warmup_linear",
]

LOG_EVERY = 100


def init(
    factor: Callable[[int], float], *optimizers: torch.optim.Optimizer
) -> dict[str, list[Any]]:
    """What ``init_optimizer_state`` returns: optimizers, and the schedules of their learning rates.

    Args:
      factor: from the step, from 0, to what the optimizers' ``lr`` is multiplied by.
      optimizers: mostly one; several if parameters are treated in different ways.
    """
    schedulers = [torch.optim.lr_scheduler.LambdaLR(o, factor) for o in optimizers]
    return {"optimizers": list(optimizers), "schedulers": schedulers}


def update_params(
    workload: Any,
    current_param_container: Any,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    batch: Any,
    loss_type: Any,
    optimizer_state: Any,
    eval_results: Any,
    global_step: int,
    rng: Any,
) -> Any:
    """One training step; nothing waits for the device."""
    model = current_param_container
    for optimizer in optimizer_state["optimizers"]:
        if hasattr(optimizer, "train"):  # back from ``prepare_for_eval``
            optimizer.train()
    loss = backward(workload, model, hyperparameters, batch, rng)
    step(workload, model, hyperparameters, optimizer_state, loss, global_step)
    return optimizer_state, model, model_state


def step(
    workload: Any,
    model: Any,
    hyperparameters: Any,
    optimizer_state: dict[str, list[Any]],
    loss: torch.Tensor,
    global_step: int,
) -> None:
    """What follows on the gradient: the record now and then, clipping, the optimizers' steps."""
    optimizers = optimizer_state["optimizers"]
    is_logged = global_step % LOG_EVERY == 0 and workload.metrics_logger is not None
    grad_norm = gradient_norm(model.parameters()) if is_logged else None
    if hasattr(hyperparameters, "grad_clip"):
        torch.nn.utils.clip_grad_norm_(model.parameters(), hyperparameters.grad_clip)
    if is_logged:
        metrics = {
            "loss": loss,
            "grad_norm": grad_norm,
            "learning_rate": optimizers[0].param_groups[0]["lr"],
        }
        workload.metrics_logger.append_scalar_metrics(metrics, global_step)
    for optimizer in optimizers:
        optimizer.step()
    for scheduler in optimizer_state["schedulers"]:
        scheduler.step()


def backward(
    workload: Any,
    model: Any,
    hyperparameters: Any,
    batch: Any,
    rng: Any,
    *,
    update_batch_norm: bool = True,
) -> torch.Tensor:
    """Puts the gradient of the mean loss in place of the one before; returns the loss, detached."""
    for parameter in model.parameters():
        parameter.grad = None
    logits, _ = workload.model_fn(
        params=model,
        augmented_and_preprocessed_input_batch=batch,
        model_state=None,
        mode=spec.ForwardPassMode.TRAIN,
        rng=rng,
        update_batch_norm=update_batch_norm,
    )
    label_smoothing = getattr(hyperparameters, "label_smoothing", 0.0)
    loss = mean_loss(workload, batch, logits, label_smoothing)
    loss.backward()
    return loss.detach()


def mean_loss(
    workload: Any, batch: Any, logits: torch.Tensor, label_smoothing: float
) -> torch.Tensor:
    """This rank's share of the mean loss over the valid examples of the global batch.

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


def gradient_norm(parameters: Iterable[torch.Tensor]) -> torch.Tensor:
    """The Euclidean norm of all gradients as one vector."""
    return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])


class Beside(torch.optim.Optimizer):
    """Keeps weights beside those in training, to be judged by them; comes last of the optimizers.

    A subclass has ``follow``, which is called after each step of the others. ``eval()`` puts the
    weights that are kept into the parameters, ``train()`` takes them back.

    Args:
      params: the parameters, as for every optimizer.
      defaults: what else there is in each group.
    """

    def __init__(self, params: Iterable[torch.Tensor], **defaults: Any):
        super().__init__(params, {**defaults, "step": 0, "is_eval": False})
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["weights"] = p.detach().clone()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Lets the weights follow."""
        for group in self.param_groups:
            group["step"] += 1
            params = group["params"]
            self.follow(group, params, [self.state[p]["weights"] for p in params])

    def follow(
        self, group: dict[str, Any], params: list[torch.Tensor], weights: list[torch.Tensor]
    ) -> None:
        """Changes ``weights``, perhaps ``params``, in place; ``group["step"]`` counts from 1."""
        raise NotImplementedError

    def eval(self) -> None:
        """Puts the weights into the parameters; does nothing if they are there."""
        self._swap(is_eval=True)

    def train(self) -> None:
        """Takes them back; does nothing if they are not there."""
        self._swap(is_eval=False)

    @torch.no_grad()
    def _swap(self, is_eval: bool) -> None:
        for group in self.param_groups:
            if group["is_eval"] != is_eval:
                weights = [self.state[p]["weights"] for p in group["params"]]
                held = [w.clone() for w in weights]
                torch._foreach_copy_(weights, group["params"])
                torch._foreach_copy_(group["params"], held)
                group["is_eval"] = is_eval


def prepare_for_eval(
    workload: Any,
    current_param_container: Any,
    current_params_types: Any,
    model_state: Any,
    hyperparameters: Any,
    loss_type: Any,
    optimizer_state: Any,
    eval_results: Any,
    global_step: int,
    rng: Any,
) -> Any:
    """Changes to the parameters that the algorithm is to be judged by, by ``optimizer.eval()``."""
    for optimizer in optimizer_state["optimizers"]:
        if hasattr(optimizer, "eval"):
            optimizer.eval()
    return optimizer_state, current_param_container, model_state


def hidden_matrices_and_others(
    workload: Any, model: torch.nn.Module
) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """The kernels of hidden layers, (outputs, inputs, ...), and all other parameters."""
    matrices: list[torch.nn.Parameter] = []
    others: list[torch.nn.Parameter] = []
    roles = workload.model_params_types
    for name, parameter in model.named_parameters():
        own_name = name.removeprefix("module.")  # of DistributedDataParallel
        is_matrix = roles[own_name] in MATRIX_ROLES and not workload.is_output_params(own_name)
        (matrices if is_matrix else others).append(parameter)
    return matrices, others


def adamw(model: torch.nn.Module, hyperparameters: Any) -> torch.optim.Optimizer:
    """AdamW for submissions that have it at their core: see ``reference_submissions/adamw``."""
    return torch.optim.AdamW(
        model.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.beta1, hyperparameters.beta2),
        eps=1e-8,
        weight_decay=hyperparameters.weight_decay,
        fused=True,
    )
