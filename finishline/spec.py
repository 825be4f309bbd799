"""The submission API: everything that a submission may rely on.

A submission is one Python file with the functions described by the protocols at the end of this
module. Names, argument names and return values are those of AlgoPerf (Dahl et al., 2023,
"Benchmarking Neural Network Training Algorithms", arXiv:2306.07179), so that a submission written
for it runs here.

This module imports neither JAX nor PyTorch.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

# Containers whose concrete type depends on the framework. JAX: nested dicts of arrays. PyTorch: an
# nn.Module for parameters, None for the model state (buffers live in the module).
Tensor = Any
ParameterContainer = Any
ModelAuxiliaryState = Any
ParameterTypeTree = Any
ParameterShapeTree = Any
OptimizerState = Any
RandomState = Any
Batch = Any
Hyperparameters = Any  # a named tuple of the search space's names; None under self-tuning
UpdateReturn = tuple[OptimizerState, ParameterContainer, ModelAuxiliaryState]


class LossType(enum.Enum):
    """The loss of a workload; its definition is in ``finishline/frameworks/*/losses.py``."""

    SOFTMAX_CROSS_ENTROPY = 0
    SIGMOID_CROSS_ENTROPY = 1
    MEAN_SQUARED_ERROR = 2
    CTC_LOSS = 3
    MEAN_ABSOLUTE_ERROR = 4


class ForwardPassMode(enum.Enum):
    """Whether ``Workload.model_fn`` runs dropout and batch statistics as in training."""

    TRAIN = 0
    EVAL = 1


class ParameterType(enum.Enum):
    """The role of a parameter tensor, declared by the model."""

    WEIGHT = 0
    BIAS = 1
    CONV_WEIGHT = 2
    BATCH_NORM_SCALE = 3
    BATCH_NORM_BIAS = 4
    LAYER_NORM_SCALE = 5
    LAYER_NORM_BIAS = 6
    EMBEDDING = 7
    ATTENTION_Q = 8
    ATTENTION_K = 9
    ATTENTION_V = 10
    ATTENTION_OUT = 11
    ATTENTION_QKV = 12
    ATTENTION_KV = 13
    ATTENTION_BIAS = 14


class ShapeTuple:
    """The shape of one parameter, opaque to pytree libraries.

    A plain tuple would be flattened by ``jax.tree_util``; this is one leaf.
    """

    def __init__(self, shape_tuple: tuple[int, ...]):
        self.shape_tuple = tuple(int(size) for size in shape_tuple)

    def __repr__(self) -> str:
        return f"ShapeTuple({self.shape_tuple})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ShapeTuple) and self.shape_tuple == other.shape_tuple

    def __hash__(self) -> int:
        return hash(self.shape_tuple)


class TrainingCompleteError(Exception):
    """Ends the training; one last evaluation follows.

    Raised by ``update_params`` or ``data_selection``, or by ``prepare_for_eval``, which then is not
    called again: the parameters that it was given are measured.
    """


@runtime_checkable
class MetricsLogger(Protocol):
    """Takes scalars that a submission wants in the record."""

    def append_scalar_metrics(self, metrics: Mapping[str, Any], global_step: int) -> None:
        """Records ``metrics`` for ``global_step``; device scalars are read later."""


@runtime_checkable
class Workload(Protocol):
    """What a submission sees of a workload. Hashable by identity, so usable as a static argument.

    Attributes:
      loss_type: which loss ``loss_fn`` computes.
      target_metric_name: the metric that decides; ``eval_results`` holds ``validation/<name>``.
      validation_target_value: the value of that metric at which the clock stops.
      max_allowed_runtime_sec: the budget, in seconds of submission time.
      eval_period_time_sec: seconds of submission time between two evaluations.
      step_hint: the number of steps that a good submission may need; meant for schedules.
      num_train_examples: size of the training set.
      num_eval_train_examples: how many training examples each evaluation measures.
      num_validation_examples: size of the validation set.
      num_test_examples: size of the test set.
      eval_batch_size: batch size of the harness's evaluations.
      param_shapes: a tree like the parameters with ``ShapeTuple`` leaves.
      model_params_types: a tree like the parameters with ``ParameterType`` leaves.
      metrics_logger: where scalars go, or None.
    """

    loss_type: LossType
    target_metric_name: str
    validation_target_value: float
    max_allowed_runtime_sec: float
    eval_period_time_sec: float
    step_hint: int
    num_train_examples: int
    num_eval_train_examples: int
    num_validation_examples: int
    num_test_examples: int
    eval_batch_size: int
    param_shapes: ParameterShapeTree
    model_params_types: ParameterTypeTree
    metrics_logger: MetricsLogger | None

    def model_fn(
        self,
        params: ParameterContainer,
        augmented_and_preprocessed_input_batch: Mapping[str, Tensor],
        model_state: ModelAuxiliaryState,
        mode: ForwardPassMode,
        rng: RandomState,
        update_batch_norm: bool,
        dropout_rate: float | None = None,
    ) -> tuple[Tensor, ModelAuxiliaryState]:
        """The forward pass: (logits, new model state).

        ``update_batch_norm=False`` in training mode uses the batch's statistics and leaves the
        running ones as they are. ``dropout_rate=None`` is the workload's default; JAX may trace it.
        """

    def loss_fn(
        self,
        label_batch: Tensor,
        logits_batch: Tensor,
        mask_batch: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> dict[str, Tensor]:
        """The loss, without regularisation and not averaged over devices.

        Returns:
          ``summed`` (scalar), ``n_valid_examples`` (scalar), ``per_example`` (one per example).
        """

    def is_output_params(self, param_key: str) -> bool:
        """Whether the parameter of this name belongs to the model's output layer."""


class GetBatchSize(Protocol):
    """``get_batch_size``: the global batch size, over all devices. Called once, on the clock."""

    def __call__(self, workload_name: str) -> int: ...


class InitOptimizerState(Protocol):
    """``init_optimizer_state``: anything that ``update_params`` wants to get back. On the clock."""

    def __call__(
        self,
        workload: Workload,
        model_params: ParameterContainer,
        model_state: ModelAuxiliaryState,
        hyperparameters: Hyperparameters,
        rng: RandomState,
    ) -> OptimizerState: ...


class UpdateParams(Protocol):
    """``update_params``: one training step. Called with keywords, on the clock.

    It gets one argument more, ``train_state`` (a read-only mapping of clock readings), if it has a
    parameter of that name.
    """

    def __call__(
        self,
        workload: Workload,
        current_param_container: ParameterContainer,
        current_params_types: ParameterTypeTree,
        model_state: ModelAuxiliaryState,
        hyperparameters: Hyperparameters,
        batch: Batch,
        loss_type: LossType,
        optimizer_state: OptimizerState,
        eval_results: Sequence[tuple[int, Mapping[str, float]]],
        global_step: int,
        rng: RandomState,
    ) -> UpdateReturn: ...


class GetEvalBatchSize(Protocol):
    """``get_eval_batch_size`` (optional): part of AlgoPerf's API, but never called here.

    The referee evaluates with the workload's own batch size, on which no metric depends.
    """

    def __call__(self, workload_name: str) -> int: ...


class PrepareForEval(Protocol):
    """``prepare_for_eval`` (optional): the parameters to evaluate and to go on with. Timed."""

    def __call__(
        self,
        workload: Workload,
        current_param_container: ParameterContainer,
        current_params_types: ParameterTypeTree,
        model_state: ModelAuxiliaryState,
        hyperparameters: Hyperparameters,
        loss_type: LossType,
        optimizer_state: OptimizerState,
        eval_results: Sequence[tuple[int, Mapping[str, float]]],
        global_step: int,
        rng: RandomState,
    ) -> UpdateReturn: ...


class DataSelection(Protocol):
    """``data_selection``: the batch for one step, usually ``next(input_queue)``. On the clock."""

    def __call__(
        self,
        workload: Workload,
        input_queue: Iterator[Batch],
        optimizer_state: OptimizerState,
        current_param_container: ParameterContainer,
        model_state: ModelAuxiliaryState,
        hyperparameters: Hyperparameters,
        global_step: int,
        rng: RandomState,
    ) -> Batch: ...


# Argument names of the five functions: what the static check of a submission compares with.
SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "get_batch_size": ("workload_name",),
    "init_optimizer_state": (
        "workload",
        "model_params",
        "model_state",
        "hyperparameters",
        "rng",
    ),
    "update_params": (
        "workload",
        "current_param_container",
        "current_params_types",
        "model_state",
        "hyperparameters",
        "batch",
        "loss_type",
        "optimizer_state",
        "eval_results",
        "global_step",
        "rng",
    ),
    "prepare_for_eval": (
        "workload",
        "current_param_container",
        "current_params_types",
        "model_state",
        "hyperparameters",
        "loss_type",
        "optimizer_state",
        "eval_results",
        "global_step",
        "rng",
    ),
    "data_selection": (
        "workload",
        "input_queue",
        "optimizer_state",
        "current_param_container",
        "model_state",
        "hyperparameters",
        "global_step",
        "rng",
    ),
    "get_eval_batch_size": ("workload_name",),
}
OPTIONAL_FUNCTIONS = frozenset({"prepare_for_eval", "get_eval_batch_size"})
OPTIONAL_ARGUMENTS: Mapping[str, tuple[str, ...]] = {"update_params": ("train_state",)}
