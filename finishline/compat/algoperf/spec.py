"""``algoperf.spec``: the submission API under the names that AlgoPerf gives it."""

from typing import Any

from finishline.spec import (
    ForwardPassMode,
    Hyperparameters,
    LossType,
    ModelAuxiliaryState,
    OptimizerState,
    ParameterContainer,
    ParameterShapeTree,
    ParameterType,
    ParameterTypeTree,
    RandomState,
    ShapeTuple,
    Tensor,
    TrainingCompleteError,
    UpdateReturn,
    Workload,
)

__all__ = [
    "ForwardPassMode",
    "Hyperparameters",
    "LossType",
    "ModelAuxiliaryState",
    "ModelInitState",
    "OptimizerState",
    "ParameterContainer",
    "ParameterKey",
    "ParameterShapeTree",
    "ParameterTree",
    "ParameterType",
    "ParameterTypeTree",
    "RandomState",
    "Shape",
    "ShapeTuple",
    "Steps",
    "Tensor",
    "Timing",
    "TrainingCompleteError",
    "UpdateReturn",
    "Workload",
]

# Used in annotations alone.
Shape = tuple[int, ...]
ParameterKey = str
ParameterTree = dict[str, Any]
ModelInitState = tuple[ParameterContainer, ModelAuxiliaryState]
Timing = int
Steps = int
