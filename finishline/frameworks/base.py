"""What the worker and the referee need from a framework, and what both frameworks share."""

import importlib
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from finishline import spec
from finishline.errors import SubmissionError
from finishline.scorer import Scorer
from finishline.workload import WorkloadDefinition

NumpyBatch = Mapping[str, np.ndarray]
# Name of each array of a snapshot -> (shape, dtype).
SnapshotSpec = dict[str, tuple[tuple[int, ...], np.dtype]]


class WorkloadView(spec.Workload):
    """The part of ``spec.Workload`` that does not depend on the framework.

    Args:
      definition: the workload.
      num_examples: examples by split ('train', 'validation', 'test').
    """

    def __init__(
        self,
        definition: WorkloadDefinition,
        num_examples: Mapping[str, int],
    ):
        self.loss_type = definition.loss_type
        self.target_metric_name = definition.target.metric
        self.validation_target_value = definition.target.validation
        self.max_allowed_runtime_sec = definition.max_allowed_runtime_sec
        self.eval_period_time_sec = definition.eval_period_time_sec
        self.step_hint = definition.step_hint
        self.num_train_examples = num_examples["train"]
        self.num_eval_train_examples = min(
            definition.num_eval_train_examples, self.num_train_examples
        )
        self.num_validation_examples = num_examples["validation"]
        self.num_test_examples = num_examples["test"]
        self.eval_batch_size = definition.eval_batch_size
        self.metrics_logger: spec.MetricsLogger | None = None
        self.param_shapes: Any = None
        self.model_params_types: Any = None
        self._default_dropout_rate = definition.dropout_rate
        self._smooths_labels = definition.smooths_labels
        self._output_layer: str | None = None

    def set_default_dropout_rate(self, rate: float) -> None:
        """Makes ``rate`` what ``model_fn`` takes where it is given none."""
        self._default_dropout_rate = rate

    def is_output_params(self, param_key: str) -> bool:
        """Whether ``param_key``, with '.' or '/' between its parts, is in the output layer."""
        parts = param_key.replace("/", ".").split(".")
        return self._output_layer is not None and self._output_layer in parts


@runtime_checkable
class Runtime(Protocol):
    """One framework, set up for one workload: the worker trains, the referee evaluates with it.

    Attributes:
      workload: what the submission sees.
      is_accelerated: whether the model runs beside the host, on a GPU or the like.
    """

    workload: WorkloadView
    is_accelerated: bool

    def init_model(self, seed: int, example: NumpyBatch) -> tuple[Any, Any]:
        """Fresh (parameters, model state); fills in the workload's shapes and types.

        ``example`` is a batch of at least one example on the host.
        """

    def blank_model(self, example: NumpyBatch) -> tuple[Any, Any]:
        """Like ``init_model`` with any values: quick, for who needs the shapes alone."""

    def seed_everything(self, seed: int) -> None:
        """Seeds the framework's global random generators, for submissions that use them."""

    def place(self, batches: Sequence[NumpyBatch]) -> Iterable[Any]:
        """The batches on the device, in their order. The arrays must not be written to any more."""

    def step_keys(self, rows: np.ndarray) -> Iterable[Any]:
        """Keys for the submission from random bits of shape (keys, 2), uint32."""

    def throttle(self, params: Any) -> None:
        """Called every few steps: waits until the device is at most a few steps behind the host."""

    def snapshot(self, params: Any, model_state: Any) -> dict[str, np.ndarray]:
        """All arrays that an evaluation needs, by name, on the host. Waits for the device.

        Raises:
          SubmissionError: the parameters are not of the framework's kind.
        """

    def load_snapshot(self, arrays: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
        """(parameters, model state) from ``snapshot``'s arrays."""

    def restore(self, model: tuple[Any, Any], arrays: Mapping[str, np.ndarray]) -> tuple[Any, Any]:
        """``model``, (parameters, model state), with the values of ``snapshot``'s arrays.

        Where parameters can be changed, they are, so that an optimizer that has them keeps them.
        Where they cannot, whoever calls this should have no reference to them left: their memory
        is free then for the new ones.
        """

    def save_state(self, optimizer_state: Any, path: Path) -> list[str]:
        """Writes the optimizer state and the random generators; returns what cannot be saved."""

    def restored_ids(self, params: Any) -> Set[int]:
        """Ids of what a resume brings back by itself: the workload, and a model that changes."""

    def unsaved(self, optimizer_state: Any) -> Mapping[str, Any]:
        """What ``save_state`` cannot save and ``load_state`` takes from a fresh state, by name.

        That is right as long as a fresh state has the same.
        """

    def load_state(self, optimizer_state: Any, path: Path) -> Any:
        """The saved state in the structure of ``optimizer_state``, a freshly initialised one."""

    def snapshot_spec(self) -> SnapshotSpec:
        """What ``snapshot`` must hold for this workload."""

    def evaluate(
        self,
        params: Any,
        model_state: Any,
        batches: Iterable[NumpyBatch],
        scorer: Scorer | None = None,
    ) -> dict[str, float]:
        """The workload's metrics, averaged exactly over what has weight 1, and the scorer's.

        All devices of the runtime take part, and all ranks, which must be given the same batches.
        Batches may have any size. ``scorer`` is there if the workload has one.
        """


def create_runtime(
    framework: str,
    definition: WorkloadDefinition,
    num_examples: Mapping[str, int],
    *,
    num_devices: int = 1,
    compile_model: bool = False,
    shard_embeddings: bool = False,
    module: str | None = None,
) -> Runtime:
    """The runtime of ``framework``; imports the framework.

    Args:
      framework: 'jax' or 'pytorch'.
      definition: the workload.
      num_examples: examples by split.
      num_devices: devices to train on.
      compile_model: whether a PyTorch model goes through ``torch.compile``.
      shard_embeddings: whether each device holds a part of the parameters that the model declares
        in ``sharded_parameters``, instead of all of them. Needs several devices.
      module: the module with another class ``Runtime`` than the framework's usual one, or None.
    """
    name = module or f"finishline.frameworks.{framework}.runtime"
    return importlib.import_module(name).Runtime(
        definition,
        num_examples,
        num_devices=num_devices,
        compile_model=compile_model,
        shard_embeddings=shard_embeddings,
    )


def check_snapshot(arrays: Mapping[str, Any], expected: SnapshotSpec) -> None:
    """Checks that a snapshot has the workload's arrays and no others.

    Raises:
      SubmissionError: names, shapes or dtypes differ, or values are not finite.
    """
    missing, extra = (
        sorted(expected.keys() - arrays.keys()),
        sorted(arrays.keys() - expected.keys()),
    )
    if missing or extra:
        raise SubmissionError(
            f"The snapshot has other arrays than the model: missing {missing[:3]}, "
            f"unknown {extra[:3]}."
        )
    for name, (shape, dtype) in expected.items():
        array = arrays[name]
        if tuple(array.shape) != shape or array.dtype != dtype:
            raise SubmissionError(
                f"Parameter {name!r} arrived as {array.dtype}{list(array.shape)}; "
                f"the model has {dtype}{list(shape)}."
            )
        if not np.isfinite(array).all():
            raise SubmissionError(
                f"Parameter {name!r} holds NaN or infinity: the training has diverged."
            )


@runtime_checkable
class Ranks(Protocol):
    """The processes of one worker; each has one device or, in JAX, all of them."""

    rank: int
    world_size: int

    def broadcast(self, values: list[int]) -> list[int]:
        """Rank 0's integers, on every rank."""

    def barrier(self) -> None:
        """Waits until every rank has come here."""


class SingleRank:
    """A worker of one process."""

    rank = 0
    world_size = 1

    def broadcast(self, values: list[int]) -> list[int]:
        """Returns ``values``."""
        return values

    def barrier(self) -> None:
        """Returns at once."""


def join_ranks() -> Ranks:
    """The ranks of this worker; waits for the others if ``torchrun`` started this process."""
    if "LOCAL_RANK" not in os.environ:
        return SingleRank()
    from finishline.frameworks.pytorch.distributed import TorchRanks

    return TorchRanks()
