"""What the command line says that holds for all trials alike, of one study or of a competition."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finishline.calibration import DEFAULT_MAX_DRIFT
from finishline.executors import Executor, LocalExecutor


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Settings of trials; all but ``executor`` are flags of the same names.

    Attributes:
      tuning_ruleset: 'external' or 'self'.
      num_tuning_trials: number of points to draw; None is the ruleset's own number.
      rng_seed: the root seed.
      data_dir: where the data sets are.
      experiment_dir: where experiments are.
      num_devices: devices to train on; None is all GPUs, or the CPU.
      max_global_steps: step after which training ends.
      step_hint_fraction: what to multiply the workload's step hint by, after which training ends
        then; None leaves it.
      stop_at_target: whether reaching the target ends a trial.
      save_checkpoints: whether trials can be resumed.
      torch_compile: whether PyTorch models are compiled.
      shard_embeddings: whether each device holds a part of large embedding tables instead of all.
      compat: whether published submissions get what they need; see ``finishline.compat``.
      benchmark_version: the version of the benchmark; None is the newest.
      hardware: its class of machines whose budgets apply; None is the usual one.
      on_drift: what becomes of a trial if the machine's speed has changed: 'off', 'warn' or 'fail';
        None is 'off' for workers on this machine and 'warn' for those in containers.
      max_drift: by more than this share of it.
      executor: what starts the workers.
    """

    tuning_ruleset: str = "external"
    num_tuning_trials: int | None = None
    rng_seed: int = 0
    data_dir: Path = Path("data")
    experiment_dir: Path = Path("experiments")
    num_devices: int | None = None
    max_global_steps: int | None = None
    step_hint_fraction: float | None = None
    stop_at_target: bool = True
    save_checkpoints: bool = True
    torch_compile: bool = False
    shard_embeddings: bool = False
    compat: bool = True
    benchmark_version: str | None = None
    hardware: str | None = None
    on_drift: str | None = None
    max_drift: float = DEFAULT_MAX_DRIFT
    executor: Executor = dataclasses.field(default_factory=LocalExecutor)

    def shared(self) -> dict[str, Any]:
        """These settings by name, without those that a subclass adds."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(RunSettings)}

    def flags(self) -> Mapping[str, Any]:
        """The flags that say the same to ``submission_runner.py``."""
        settings = self.shared()
        executor: Executor = settings.pop("executor")
        return {**settings, **executor.flags()}
