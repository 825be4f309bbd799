"""Runs a competition: submissions x workloads x studies x trials, then prints the leaderboard.

What has been run already is not run again: the same command continues a competition that was
interrupted. All flags can also be given in a TOML file (--config); the command line wins.

Example:
  python competition.py --submissions=nadamw,momentum --workloads=digits --frameworks=jax
"""

from pathlib import Path

from absl import flags

from finishline import commandline, compat_flags, drift_flags, executor_flags
from finishline.suites import all_suites

flags.DEFINE_string("config", None, "TOML file with flags, by name and without dashes.")
flags.DEFINE_list(
    "submissions",
    ["nadamw", "momentum", "schedule_free_adamw"],
    "Submissions: files, folders, folders of such folders, or names of reference submissions.",
)
flags.DEFINE_list("workloads", None, "Workloads; see also --suite.")
flags.DEFINE_enum(
    "suite",
    "embedded",
    list(all_suites()),
    "A set of workloads, where --workloads is not given. "
    + "; ".join(f"{name}: {suite.about}" for name, suite in all_suites().items())
    + ".",
)
flags.DEFINE_list("frameworks", ["jax", "pytorch"], "Frameworks to run the submissions in.")
flags.DEFINE_enum("tuning_ruleset", "external", ["external", "self"], "See submission_runner.py.")
flags.DEFINE_integer("num_studies", 1, "Studies; a result is the median over them.", lower_bound=1)
flags.DEFINE_integer(
    "num_tuning_trials", None, "Trials a study. Default: 5, self-tuning 1.", lower_bound=1
)
flags.DEFINE_integer("rng_seed", 0, "Root seed; all other seeds derive from it.", lower_bound=0)
flags.DEFINE_string("data_dir", "data", "Where the data sets are.")
flags.DEFINE_string("experiment_dir", "experiments", "Where experiments are recorded.")
flags.DEFINE_string("experiment_name", "competition", "Name of the competition.")
flags.DEFINE_integer("num_devices", None, "Devices to train on. Default: all.", lower_bound=1)
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
flags.DEFINE_bool("save_checkpoints", True, "Write checkpoints, so that trials can be resumed.")
flags.DEFINE_bool("torch_compile", False, "Put PyTorch models through torch.compile.")
flags.DEFINE_bool(
    "shard_embeddings", False, "Let each device hold a part of large embedding tables, not all."
)
flags.DEFINE_string(
    "benchmark_version",
    None,
    "Version of AlgoPerf whose budgets, step hints and quirks apply: 0.5, 0.6 or 1.0. Default: "
    "the newest.",
)
flags.DEFINE_string(
    "hardware",
    None,
    "Hardware class of that version whose budgets apply, such as 4xA100. Default: its usual one.",
)
compat_flags.define()
drift_flags.define()
executor_flags.define()
flags.DEFINE_string(
    "docker_base",
    None,
    "Image with Python to build the containers' image from, where --docker_image is not given. "
    "Default: python:3.11-slim-bookworm.",
)

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    """Runs the competition that the flags describe; returns the exit code."""
    del argv
    if FLAGS.config:
        commandline.read_toml(Path(FLAGS.config))
    from finishline.competition import CompetitionConfig
    from finishline.organizer import run

    config = CompetitionConfig(
        submissions=FLAGS.submissions,
        workloads=FLAGS.workloads or all_suites()[FLAGS.suite].workloads,
        frameworks=FLAGS.frameworks,
        tuning_ruleset=FLAGS.tuning_ruleset,
        num_studies=FLAGS.num_studies,
        num_tuning_trials=FLAGS.num_tuning_trials,
        rng_seed=FLAGS.rng_seed,
        data_dir=Path(FLAGS.data_dir).expanduser(),
        experiment_dir=Path(FLAGS.experiment_dir).expanduser(),
        experiment_name=FLAGS.experiment_name,
        num_devices=FLAGS.num_devices,
        max_global_steps=FLAGS.max_global_steps,
        step_hint_fraction=FLAGS.step_hint_fraction,
        stop_at_target=FLAGS.stop_at_target,
        save_checkpoints=FLAGS.save_checkpoints,
        torch_compile=FLAGS.torch_compile,
        shard_embeddings=FLAGS.shard_embeddings,
        compat=compat_flags.is_on(),
        benchmark_version=FLAGS.benchmark_version,
        hardware=FLAGS.hardware,
        on_drift=FLAGS.on_drift,
        max_drift=FLAGS.max_drift,
        executor=executor_flags.executor(image=FLAGS.docker_image or ""),
        docker_base=FLAGS.docker_base,
    )
    return run(config)


if __name__ == "__main__":
    commandline.run(main)
