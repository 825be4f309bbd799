"""Runs a competition: submissions x workloads x studies x trials, then prints the leaderboard.

What has been run already is not run again: the same command continues a competition that was
interrupted. All flags can also be given in a TOML file (--config); the command line wins.

Example:
  python competition.py --submissions=nadamw,momentum --workloads=digits --frameworks=jax
"""

from pathlib import Path

from absl import flags

from finishline import commandline, run_flags
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
flags.DEFINE_integer("num_studies", 1, "Studies; a result is the median over them.", lower_bound=1)
flags.DEFINE_string("experiment_name", "competition", "Name of the competition.")
run_flags.define()
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
        num_studies=FLAGS.num_studies,
        experiment_name=FLAGS.experiment_name,
        docker_base=FLAGS.docker_base,
        **run_flags.settings(image=FLAGS.docker_image or ""),
    )
    return run(config)


if __name__ == "__main__":
    commandline.run(main)
