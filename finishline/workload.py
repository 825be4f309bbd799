"""What a workload is, written once for both frameworks, and the registry of workloads.

A workload is one folder in ``workloads/``: ``workload.py`` with a tuple ``WORKLOADS`` of
``WorkloadDefinition``, and ``model_jax.py`` and ``model_pytorch.py``, each with a class ``Model``.
A new folder is found by itself; nothing else has to be edited.
"""

import contextlib
import dataclasses
import difflib
import functools
import importlib
import importlib.util
import math
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from finishline.data.prepared import SPLITS as SPLITS
from finishline.data.prepared import Field
from finishline.data.records import RecordSource
from finishline.data.sources import Source
from finishline.errors import UserError
from finishline.scorer import Scorer
from finishline.spec import LossType

# The name of a workload for which every published submission has a batch size.
EVERYONES_WORKLOAD = "mnist"


@runtime_checkable
class Dataset(Protocol):
    """The data of a workload: on disk in one folder a split, read by index.

    Training, validation and test data lie in separate folders, so that a container can be given
    the training data alone. ``finishline.data.prepared.StoredDataset`` has all but ``prepare`` and
    ``open``.

    Attributes:
      name: name of the data set and of its folder. Two workloads may read one data set, each with
        a preprocessing of its own; ``Dataset`` objects of one name prepare the same.
      num_examples: examples by split.
      fields: the fields of an example as evaluation sees it.
      origin: where the originals come from, in one line: "generated", or who gives them to whom.
      disk_bytes: about what the prepared splits take on the disk, if known.
    """

    name: str
    num_examples: Mapping[str, int]
    fields: Mapping[str, Field]
    origin: str
    disk_bytes: int | None

    def folder(self, data_dir: Path, split: str) -> Path:
        """The folder that holds ``split`` ('train', 'validation' or 'test') and nothing else."""

    def is_prepared(self, data_dir: Path) -> bool:
        """Whether all splits are there and look right."""

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged.

        Args:
          data_dir: where the data sets lie.
          source: folder with the originals; None is ``<data_dir>/<name>``. Data that are generated
            need none.
          num_workers: how many processes work.

        Raises:
          UserError: originals are missing or damaged, or there is no room; the message says which,
            and how to obtain them.
        """

    def open(
        self, data_dir: Path, split: str, quirks: frozenset[str] = frozenset()
    ) -> Source | RecordSource:
        """Opens one split for reading by index.

        Args:
          data_dir: where the data sets lie.
          split: 'train', 'validation' or 'test'.
          quirks: names of the known defects of published benchmarks to reproduce; those that do
            not concern the data are passed over.

        Raises:
          UserError: the files are missing or damaged; the message names them.
        """


@contextlib.contextmanager
def told_of_missing_packages(dataset: Dataset) -> Iterator[None]:
    """Turns the error that a package is missing into a sentence with the extra that has it."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = dataset.name.removesuffix("_mini")
        raise UserError(
            f"The data set {dataset.name} needs the package {error.name!r}, which is not "
            f"installed; run `pip install -c constraints.txt -e '.[{extra}]'`."
        ) from error


def tell_if_partial(dataset: Dataset, split: str, count: int) -> None:
    """Says so on standard error if ``split`` has ``count`` examples, and should have others."""
    expected = dataset.num_examples[split]
    if count != expected:
        print(
            f"{dataset.name}/{split} has {count:,} examples; the whole data set has {expected:,}.",
            file=sys.stderr,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """The metric that decides a race, and its values.

    Attributes:
      metric: name of the metric, as in ``validation/<metric>``.
      minimize: whether smaller is better.
      validation: the value at which the clock stops.
      test: the value that tells whether the result holds on unseen data; it never stops the clock.
        NaN, which nothing meets, if none is known.
    """

    metric: str
    minimize: bool
    validation: float
    test: float

    def is_met(self, value: float, *, split: str = "validation") -> bool:
        """The one definition of "target reached": equality counts, NaN and infinity never do."""
        return target_is_met(value, getattr(self, split), minimize=self.minimize)

    def describe(self) -> dict[str, Any]:
        """As JSON has it: None for a test value that is not known."""
        return dataclasses.asdict(self) | {"test": None if math.isnan(self.test) else self.test}


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
      metrics: the names of all metrics that an evaluation reports: those of
        ``finishline/frameworks/<framework>/metrics.py`` and those of the scorer.
      scorer: makes the ``Scorer`` of a split in an evaluation, given this and the folder where the
        data sets lie; None where all metrics are means.
      max_allowed_runtime_sec: the budget in seconds of submission time.
      eval_period_time_sec: seconds of submission time between two evaluations.
      step_hint: number of steps for schedules.
      eval_batch_size: batch size of the referee's evaluations.
      num_eval_train_examples: how many training examples an evaluation measures.
      dropout_rate: default of ``model_fn``'s ``dropout_rate``.
      smooths_labels: whether ``loss_fn`` heeds ``label_smoothing``. In AlgoPerf some workloads do
        not, and submissions ask for it on all.
      model: keyword arguments of the ``Model`` classes of both frameworks.
      mini_model: the entries of ``model`` that make it small; see ``shrunk``.
      mini_dataset: the small data set of the same kind, or None if ``dataset`` is small.
      quirk_models: the entries of ``model`` that reproduce a quirk, by its name.
      quirks: names of the known defects of published benchmarks that are reproduced.
      matmul_precision: 'highest' for products of matrices in float32, 'high' for TensorFloat-32
        where the device has it; for both frameworks, convolutions too.
      task: what is learnt, in a few words.
      remark: what to know before results are compared with AlgoPerf's; empty if nothing.
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
    scorer: Callable[["WorkloadDefinition", Path], Scorer] | None = None
    dropout_rate: float = 0.0
    smooths_labels: bool = True
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    mini_model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    mini_dataset: Dataset | None = None
    quirk_models: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    quirks: frozenset[str] = frozenset()
    matmul_precision: str = "highest"
    task: str = ""
    remark: str = ""
    batch_size_name: str = EVERYONES_WORKLOAD
    is_embedded: bool = False

    def variant(self, name: str, **overrides: Any) -> "WorkloadDefinition":
        """A workload that differs from this one in ``overrides`` only."""
        return dataclasses.replace(self, name=name, **overrides)

    def shortened(self, fraction: float) -> "WorkloadDefinition":
        """The same workload with ``fraction`` of its step hint, at least one step."""
        return self.variant(self.name, step_hint=max(1, round(fraction * self.step_hint)))

    def shrunk(self) -> "WorkloadDefinition":
        """The same workload with a small model and small data, for laptops and tests."""
        return self.variant(
            self.name,
            model={**self.model, **self.mini_model},
            dataset=self.mini_dataset or self.dataset,
        )

    def mini(self, **overrides: Any) -> "WorkloadDefinition":
        """The ``_mini`` workload: ``shrunk``, with targets and budgets of its own."""
        return self.shrunk().variant(f"{self.name}_mini", is_embedded=True, **overrides)

    def open(self, data_dir: Path, split: str) -> Source | RecordSource:
        """Opens one split of the data, with this workload's quirks; see ``Dataset.open``."""
        return self.dataset.open(data_dir, split, self.quirks)

    def build_model(self, framework: str) -> Any:
        """The model of ``framework``, configured; its parameters are not initialised in JAX."""
        return self.model_module(framework).Model(**self.model_config)

    @property
    def model_config(self) -> dict[str, Any]:
        """The keyword arguments of the ``Model`` classes, with what the quirks change."""
        config = dict(self.model)
        for quirk in sorted(self.quirks):
            config |= self.quirk_models.get(quirk, {})
        return config

    def model_module(self, framework: str) -> Any:
        """The module ``model_jax`` or ``model_pytorch`` of this workload."""
        return importlib.import_module(f"{self.package}.model_{framework}")


@functools.cache
def all_workloads() -> dict[str, WorkloadDefinition]:
    """Every workload in ``workloads/``, by name, in alphabetical order."""
    import workloads

    found = {}
    for folder in pkgutil.iter_modules(workloads.__path__):
        name = f"workloads.{folder.name}.workload"
        if not folder.ispkg or importlib.util.find_spec(name) is None:
            continue  # a folder without a workload is code that workloads share
        module = importlib.import_module(name)
        found.update({workload.name: workload for workload in module.WORKLOADS})
    return dict(sorted(found.items()))


def all_datasets() -> dict[str, Dataset]:
    """Every data set that a workload reads, by name."""
    return {w.dataset.name: w.dataset for w in all_workloads().values()}


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


def check_data(workload: WorkloadDefinition, data_dir: Path) -> None:
    """Makes embedded data that is missing; other data must be there. A part of them is told.

    Raises:
      UserError: they cannot be made, or files or packages are missing; the message names them.
    """
    dataset = workload.dataset
    try:
        with told_of_missing_packages(dataset):
            if workload.is_embedded:
                dataset.prepare(data_dir)
            for split in SPLITS:
                tell_if_partial(dataset, split, len(dataset.open(data_dir, split)))
    except OSError as error:
        raise UserError(
            f"The data of {workload.name} can be neither read nor made in {data_dir} "
            f"({error.strerror}); give a folder as --data_dir that can be written."
        ) from error
