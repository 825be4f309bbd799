"""The flags of all command lines that run trials: see ``finishline.settings.RunSettings``."""

from pathlib import Path
from typing import Any

from absl import flags

from finishline import executor_flags
from finishline.calibration import DEFAULT_MAX_DRIFT, OnDrift

# Flags of the command line that calls ``define``, not of this module.
flags.disclaim_key_flags()

FLAGS = flags.FLAGS

_NAMES = (
    *("tuning_ruleset", "num_tuning_trials", "rng_seed", "num_devices", "max_global_steps"),
    *("step_hint_fraction", "stop_at_target", "save_checkpoints", "torch_compile"),
    *("shard_embeddings", "benchmark_version", "hardware", "on_drift", "max_drift"),
)


def define() -> None:
    """Defines them."""
    _define_tuning()
    _define_length()
    _define_training()
    _define_rules()
    executor_flags.define()


def settings(image: str | None = None) -> dict[str, Any]:
    """The arguments of ``RunSettings`` that the flags give.

    Args:
      image: stands for ``--docker_image`` where that is not given.

    Raises:
      UserError: flags do not go together.
    """
    return {
        **{name: FLAGS[name].value for name in _NAMES},
        "data_dir": Path(FLAGS.data_dir).expanduser(),
        "experiment_dir": Path(FLAGS.experiment_dir).expanduser(),
        "compat": FLAGS.compat and not FLAGS.no_compat,
        "executor": executor_flags.executor(image=image),
    }


def _define_tuning() -> None:
    flags.DEFINE_enum(
        "tuning_ruleset",
        "external",
        ["external", "self"],
        "external: the harness tries hyperparameter points from the search space. "
        "self: the submission tunes itself and has 1.5 times the budget (3 times in version 0.5).",
    )
    flags.DEFINE_integer(
        "num_tuning_trials",
        None,
        "Trials a study, each with another point. Default: 5, self-tuning 1.",
        lower_bound=1,
    )
    flags.DEFINE_integer("rng_seed", 0, "Root seed; all other seeds derive from it.", lower_bound=0)
    flags.DEFINE_string("data_dir", "data", "Where the data sets are.")
    flags.DEFINE_string("experiment_dir", "experiments", "Where experiments are recorded.")


def _define_length() -> None:
    flags.DEFINE_integer(
        "max_global_steps", None, "Stop each trial after so many steps.", lower_bound=1
    )
    flags.DEFINE_float(
        "step_hint_fraction",
        None,
        "Tell submissions this fraction of a workload's step hint, and stop there.",
        0.001,
        1.0,
    )
    flags.DEFINE_bool("stop_at_target", True, "End a trial when it reaches the target.")


def _define_training() -> None:
    flags.DEFINE_integer(
        "num_devices", None, "Devices to train on. Default: all GPUs, or the CPU.", lower_bound=1
    )
    flags.DEFINE_bool("save_checkpoints", True, "Write checkpoints, so that trials can be resumed.")
    flags.DEFINE_bool("torch_compile", False, "Put PyTorch models through torch.compile.")
    flags.DEFINE_bool(
        "shard_embeddings", False, "Let each device hold a part of large embedding tables, not all."
    )
    flags.DEFINE_bool(
        "compat",
        True,
        "Supply what published AlgoPerf submissions need, such as the package algoperf "
        "(docs/compatibility.md).",
    )
    flags.DEFINE_bool("no_compat", False, "The same as --nocompat.")


def _define_rules() -> None:
    flags.DEFINE_string(
        "benchmark_version",
        None,
        "Version of AlgoPerf whose budgets, step hints and quirks apply: 0.5, 0.6 or 1.0. "
        "Default: the newest.",
    )
    flags.DEFINE_string(
        "hardware",
        None,
        "Hardware class of that version whose budgets apply, such as 4xA100. Default: its usual "
        "one.",
    )
    flags.DEFINE_enum(
        "on_drift",
        None,
        list(OnDrift),
        "Time a fixed piece of work before and after each trial; if the machine's speed has "
        "changed, warn, or end the trial with infrastructure_error, so that it is run anew "
        "(docs/machine.md). Default: off; with containers, warn.",
    )
    flags.DEFINE_float(
        "max_drift",
        DEFAULT_MAX_DRIFT,
        "Change of the machine's speed that --on_drift puts up with; 0.01 is 1 %.",
        lower_bound=0.0,
        upper_bound=0.5,
    )
