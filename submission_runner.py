"""Runs one submission on one workload: the trials of one study.

Example:
  python submission_runner.py --framework=jax --workload=digits \\
    --submission_path=reference_submissions/nadamw --experiment_name=first
"""

from pathlib import Path

from absl import flags

from finishline import commandline, compat_flags, drift_flags, executor_flags

flags.DEFINE_enum("framework", None, ["jax", "pytorch"], "Framework of the submission.")
flags.DEFINE_string("workload", None, "Workload to train, such as digits.")
flags.DEFINE_string(
    "submission_path", None, "The submission: its Python file, or the folder that holds it."
)
flags.DEFINE_enum(
    "tuning_ruleset",
    "external",
    ["external", "self"],
    "external: the harness tries hyperparameter points from the search space. "
    "self: the submission tunes itself and has 1.5 times the budget (3 times in version 0.5).",
)
flags.DEFINE_string(
    "tuning_search_space",
    None,
    "JSON file with the search space. Default: tuning_search_space.json beside the submission.",
)
flags.DEFINE_integer(
    "num_tuning_trials", None, "Number of points to try. Default: 5, self-tuning 1.", lower_bound=1
)
flags.DEFINE_integer("hparam_start_index", None, "First of the points to run, from 0.")
flags.DEFINE_integer("hparam_end_index", None, "Point to stop before.")
flags.DEFINE_integer(
    "study", 0, "Number of the study; other numbers have other seeds.", lower_bound=0
)
flags.DEFINE_integer("rng_seed", 0, "Root seed; all other seeds derive from it.", lower_bound=0)
flags.DEFINE_string("data_dir", "data", "Where the data sets are.")
flags.DEFINE_string("experiment_dir", "experiments", "Where experiments are recorded.")
flags.DEFINE_string("experiment_name", None, "Name of the experiment. Default: date and time.")
flags.DEFINE_bool("overwrite", False, "Delete the trials that are there, and run them anew.")
flags.DEFINE_bool("resume_last_run", False, "Continue trials that were interrupted.")
flags.DEFINE_alias("resume", "resume_last_run")
flags.DEFINE_integer("max_global_steps", None, "Stop after so many steps.", lower_bound=1)
flags.DEFINE_float(
    "step_hint_fraction",
    None,
    "Tell the submission this fraction of the workload's step hint, and stop there.",
    0.001,
    1.0,
)
flags.DEFINE_bool("stop_at_target", True, "End a trial when it reaches the target.")
flags.DEFINE_bool("save_checkpoints", True, "Write checkpoints, so that trials can be resumed.")
flags.DEFINE_integer(
    "num_devices", None, "Devices to train on. Default: all GPUs, or the CPU.", lower_bound=1
)
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
flags.mark_flags_as_required(["framework", "workload", "submission_path"])

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    """Runs the study that the flags describe; returns the exit code."""
    del argv
    from finishline.torchrun import is_surplus_rank, num_ranks

    if is_surplus_rank():
        return 0  # the referee of rank 0 starts all workers itself
    from finishline.study import StudyConfig, run_study

    config = StudyConfig(
        submission_path=FLAGS.submission_path,
        framework=FLAGS.framework,
        workload=FLAGS.workload,
        tuning_ruleset=FLAGS.tuning_ruleset,
        tuning_search_space=FLAGS.tuning_search_space,
        num_tuning_trials=FLAGS.num_tuning_trials,
        hparam_start_index=FLAGS.hparam_start_index,
        hparam_end_index=FLAGS.hparam_end_index,
        study=FLAGS.study,
        rng_seed=FLAGS.rng_seed,
        data_dir=Path(FLAGS.data_dir).expanduser(),
        experiment_dir=Path(FLAGS.experiment_dir).expanduser(),
        experiment_name=FLAGS.experiment_name,
        resume=FLAGS.resume_last_run,
        overwrite=FLAGS.overwrite,
        num_devices=FLAGS.num_devices or num_ranks(),
        max_global_steps=FLAGS.max_global_steps,
        step_hint_fraction=FLAGS.step_hint_fraction,
        stop_at_target=FLAGS.stop_at_target,
        save_checkpoints=FLAGS.save_checkpoints,
        torch_compile=FLAGS.torch_compile,
        shard_embeddings=FLAGS.shard_embeddings,
        compat=compat_flags.is_on(),
        benchmark_version=FLAGS.benchmark_version,
        hardware=FLAGS.hardware,
        executor=executor_flags.executor(),
        on_drift=FLAGS.on_drift,
        max_drift=FLAGS.max_drift,
    )
    return run_study(config).exit_code


if __name__ == "__main__":
    commandline.run(main)
