"""Runs one submission on one workload: the trials of one study.

Example:
  python submission_runner.py --framework=jax --workload=digits \\
    --submission_path=reference_submissions/nadamw --experiment_name=first
"""

from absl import flags

from finishline import commandline, run_flags

flags.DEFINE_enum("framework", None, ["jax", "pytorch"], "Framework of the submission.")
flags.DEFINE_string("workload", None, "Workload to train, such as digits.")
flags.DEFINE_string(
    "submission_path", None, "The submission: its Python file, or the folder that holds it."
)
flags.DEFINE_string(
    "tuning_search_space",
    None,
    "JSON file with the search space. Default: tuning_search_space.json beside the submission.",
)
flags.DEFINE_integer("hparam_start_index", None, "First of the points to run, from 0.")
flags.DEFINE_integer("hparam_end_index", None, "Point to stop before.")
flags.DEFINE_integer(
    "study", 0, "Number of the study; other numbers have other seeds.", lower_bound=0
)
flags.DEFINE_string("experiment_name", None, "Name of the experiment. Default: date and time.")
flags.DEFINE_bool("overwrite", False, "Delete the trials that are there, and run them anew.")
flags.DEFINE_bool("resume_last_run", False, "Continue trials that were interrupted.")
flags.DEFINE_alias("resume", "resume_last_run")
run_flags.define()
flags.mark_flags_as_required(["framework", "workload", "submission_path"])

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    """Runs the study that the flags describe; returns the exit code."""
    del argv
    from finishline.torchrun import is_surplus_rank, num_ranks

    if is_surplus_rank():
        return 0  # the referee of rank 0 starts all workers itself
    from finishline.study import StudyConfig, run_study

    settings = run_flags.settings()
    settings["num_devices"] = settings["num_devices"] or num_ranks()
    config = StudyConfig(
        submission_path=FLAGS.submission_path,
        framework=FLAGS.framework,
        workload=FLAGS.workload,
        tuning_search_space=FLAGS.tuning_search_space,
        hparam_start_index=FLAGS.hparam_start_index,
        hparam_end_index=FLAGS.hparam_end_index,
        study=FLAGS.study,
        experiment_name=FLAGS.experiment_name,
        resume=FLAGS.resume_last_run,
        overwrite=FLAGS.overwrite,
        **settings,
    )
    return run_study(config).exit_code


if __name__ == "__main__":
    commandline.run(main)
