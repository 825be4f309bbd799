"""What one trial is, and how it ended."""

import dataclasses
import functools
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import finishline
from finishline import harness
from finishline.benchmark import NEWEST, load_version
from finishline.calibration import DEFAULT_MAX_DRIFT, OnDrift
from finishline.compat.plan import Plan, make_plan
from finishline.errors import Status
from finishline.executors import Executor, LocalExecutor
from finishline.host import describe_machine
from finishline.seeds import TrialSeeds
from finishline.submission import SubmissionFile
from finishline.workload import WorkloadDefinition

_PACKAGES = {
    "jax": ("jax", "jaxlib", "flax", "optax", "numpy"),
    "pytorch": ("torch", "numpy"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """One trial: a submission with fixed hyperparameters and seeds on one workload.

    Attributes:
      workload: the workload.
      submission: the submission and its framework.
      tuning_ruleset: 'external' or 'self'.
      study: number of the study, from 0.
      trial: number of the trial in its study, from 1.
      hyperparameters: by name; None under self-tuning.
      search_space_path: the file from which they were drawn, if any.
      root_seed: the seed from which all others derive.
      data_dir: where the data sets are.
      run_dir: where the record goes.
      num_devices: devices (and, in PyTorch, processes) to train on.
      max_global_steps: step after which training ends, or None.
      save_checkpoints: whether the trial can be resumed.
      compile_model: whether PyTorch models go through ``torch.compile``.
      shard_embeddings: whether each device holds a part of large embedding tables instead of all.
      compat: whether the compatibility layer supplies what published submissions need.
      stop_at_target: whether reaching the target ends the trial; False to set targets.
      benchmark_version: the version of the benchmark by whose numbers it goes.
      hardware: the class of machines whose budgets apply; None is the version's usual one.
      executor: what starts the worker.
      on_drift: what becomes of the trial if the machine's speed has changed; None is nothing on
        this machine, and a warning in containers, which official runs use.
      max_drift: by more than this share of it.
    """

    workload: WorkloadDefinition
    submission: SubmissionFile
    tuning_ruleset: str
    study: int
    trial: int
    hyperparameters: dict[str, Any] | None
    root_seed: int
    data_dir: Path
    run_dir: Path
    num_devices: int = 1
    max_global_steps: int | None = None
    save_checkpoints: bool = True
    compile_model: bool = False
    shard_embeddings: bool = False
    search_space_path: Path | None = None
    compat: bool = True
    stop_at_target: bool = True
    benchmark_version: str = NEWEST
    hardware: str | None = None
    executor: Executor = dataclasses.field(default_factory=LocalExecutor)
    on_drift: OnDrift | None = None
    max_drift: float = DEFAULT_MAX_DRIFT

    @property
    def seeds(self) -> TrialSeeds:
        """The seeds of this trial."""
        return TrialSeeds.derive(
            self.root_seed, self.submission.name, self.workload.name, self.study, self.trial
        )

    @property
    def budget_sec(self) -> float:
        """Seconds of submission time that this trial may take."""
        factor = load_version(self.benchmark_version).budget_factor(self.tuning_ruleset)
        return factor * self.workload.max_allowed_runtime_sec

    @property
    def drift_policy(self) -> OnDrift:
        """``on_drift``, or what it is by default."""
        is_local = isinstance(self.executor, LocalExecutor)
        return self.on_drift or (OnDrift.OFF if is_local else OnDrift.WARN)

    @functools.cached_property
    def compat_plan(self) -> Plan | None:
        """What the compatibility layer supplies; None if it is off."""
        if not self.compat:
            return None
        submission = self.submission
        return make_plan(submission.path, submission.framework, self.hyperparameters)

    @property
    def compat_warnings(self) -> list[str]:
        """What a person should know of that before trusting the result."""
        return self.compat_plan.warnings if self.compat_plan else []

    def describe(self) -> dict[str, Any]:
        """All of it as JSON: what ``meta.json`` says before the trial starts."""
        workload, submission = self.workload, self.submission
        return {
            "submission": submission.name,
            "submission_path": str(submission.path),
            "source_hash": submission.source_hash,
            "harness_hash": harness.source_hash(),
            "workload": workload.name,
            "framework": submission.framework,
            "study": self.study,
            "trial": self.trial,
            "tuning_ruleset": self.tuning_ruleset,
            "hyperparameters": self.hyperparameters,
            "tuning_search_space": self.search_space_path and str(self.search_space_path),
            "root_seed": self.root_seed,
            "seeds": dataclasses.asdict(self.seeds),
            "benchmark_version": self.benchmark_version,
            "hardware": load_version(self.benchmark_version).hardware_class(self.hardware),
            "target": workload.target.describe(),
            "max_allowed_runtime_sec": self.budget_sec,
            "eval_period_time_sec": workload.eval_period_time_sec,
            "step_hint": workload.step_hint,
            "dropout_rate": workload.dropout_rate,
            "model": workload.model_config,
            "quirks": sorted(workload.quirks),
            "matmul_precision": workload.matmul_precision,
            "num_devices": self.num_devices,
            "max_global_steps": self.max_global_steps,
            "save_checkpoints": self.save_checkpoints,
            "torch_compile": self.compile_model,
            "shard_embeddings": self.shard_embeddings,
            "compat": self.compat,
            "compat_shims": list(self.compat_plan.shims) if self.compat_plan else [],
            "stop_at_target": self.stop_at_target,
            "data_dir": str(self.data_dir),
            **self.executor.describe(),
            "on_drift": self.drift_policy.value,
            "max_drift": self.max_drift,
            "machine": describe_machine(),
            "versions": describe_versions(submission.framework),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a trial ended.

    Attributes:
      status: the class of the ending; also says whose failure it was.
      message: one sentence.
      submission_time: seconds of submission time; the result if the target was reached.
      step: training steps done, as far as known.
      best: the best value of the target metric on the validation set, or None.
      is_discarded: whether the trial, when continued, begins anew.
    """

    status: Status
    message: str
    submission_time: float
    step: int
    best: float | None
    is_discarded: bool = False


def describe_versions(framework: str) -> dict[str, str]:
    """Versions of Python, of this package and of the framework's packages."""
    versions = {"python": platform.python_version(), "finishline": finishline.__version__}
    for package in _PACKAGES[framework]:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
