"""What a workload is, written once for both frameworks, and the registry of workloads.

A workload is one folder in ``workloads/``: ``workload.py`` with a tuple ``WORKLOADS`` of
``WorkloadDefinition``, and ``model_jax.py`` and ``model_pytorch.py``, each with a class ``Model``.
A new folder is found by itself; nothing else has to be edited.
"""

import dataclasses
import difflib
import functools
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from finishline.data.sources import Source
from finishline.errors import UserError
from finishline.spec import LossType

SPLITS = ("train", "validation", "test")


@runtime_checkable
class Dataset(Protocol):
    """The data of a workload: on disk in one folder a split, read by index.

    Training, validation and test data lie in separate folders, so that a container can be given
    the training data alone.
    """

    name: str

    def folder(self, data_dir: Path, split: str) -> Path:
        """The folder that holds ``split`` ('train', 'validation' or 'test') and nothing else."""

    def prepare(self, data_dir: Path) -> None:
        """Makes the data if this data set can be generated and is not there yet.

        Raises:
          UserError: the data must be obtained by hand; the message says how.
        """

    def open(self, data_dir: Path, split: str) -> Source:
        """Opens one split for reading by index.

        Raises:
          UserError: the files are missing or damaged; the message names them.
        """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """The metric that decides a race, and its values.

    Attributes:
      metric: name of the metric, as in ``validation/<metric>``.
      minimize: whether smaller is better.
      validation: the value at which the clock stops.
      test: the value that tells whether the result holds on unseen data; it never stops the clock.
    """

    metric: str
    minimize: bool
    validation: float
    test: float

    def is_met(self, value: float, *, split: str = "validation") -> bool:
        """The one definition of "target reached": equality counts, NaN and infinity never do."""
        return target_is_met(value, getattr(self, split), minimize=self.minimize)


def target_is_met(value: float, target: float, *, minimize: bool) -> bool:
    """Whether a finite ``value`` is at least as good as ``target``."""
    is_finite = abs(value) < float("inf")  # False for NaN, too
    return is_finite and (value <= target if minimize else value >= target)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class WorkloadDefinition:
    """All of a workload but its model.

    Attributes:
      name: the name on the command line.
      package: the Python package with ``model_jax`` and ``model_pytorch``.
      dataset: where the examples come from.
      loss_type: which loss is trained on.
      target: the metric that decides and its values.
      metrics: the names of all metrics that an evaluation reports.
      max_allowed_runtime_sec: the budget in seconds of submission time.
      eval_period_time_sec: seconds of submission time between two evaluations.
      step_hint: number of steps for schedules.
      eval_batch_size: batch size of the referee's evaluations.
      num_eval_train_examples: how many training examples an evaluation measures.
      dropout_rate: default of ``model_fn``'s ``dropout_rate``.
      model: keyword arguments of the ``Model`` classes of both frameworks.
      batch_size_name: the name under which submissions that do not know this workload are asked
        for a batch size.
      is_embedded: whether the data comes with the project or is generated, so that the workload
        runs on any machine without a download.
    """

    name: str
    package: str
    dataset: Dataset
    loss_type: LossType
    target: Target
    metrics: tuple[str, ...]
    max_allowed_runtime_sec: float
    eval_period_time_sec: float
    step_hint: int
    eval_batch_size: int
    num_eval_train_examples: int
    dropout_rate: float = 0.0
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    batch_size_name: str = "mnist"
    is_embedded: bool = False

    def variant(self, name: str, **overrides: Any) -> "WorkloadDefinition":
        """A workload that differs from this one in ``overrides`` only."""
        return dataclasses.replace(self, name=name, **overrides)

    def model_module(self, framework: str) -> Any:
        """The module ``model_jax`` or ``model_pytorch`` of this workload."""
        return importlib.import_module(f"{self.package}.model_{framework}")


@functools.cache
def all_workloads() -> dict[str, WorkloadDefinition]:
    """Every workload in ``workloads/``, by name, in alphabetical order."""
    import workloads

    found = {}
    for folder in pkgutil.iter_modules(workloads.__path__):
        if not folder.ispkg:
            continue
        module = importlib.import_module(f"workloads.{folder.name}.workload")
        found.update({workload.name: workload for workload in module.WORKLOADS})
    return dict(sorted(found.items()))


def find_workload(name: str) -> WorkloadDefinition:
    """The workload called ``name``.

    Raises:
      UserError: there is none; the message has the nearest names.
    """
    known = all_workloads()
    if name in known:
        return known[name]
    nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or list(known)
    raise UserError(f"There is no workload {name!r}; did you mean {', '.join(nearest)}?")
