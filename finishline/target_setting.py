"""Sets the targets of workloads as AlgoPerf sets its own, and writes down how they came about.

Each submission runs with points drawn from its search space for a fraction of ``step_hint`` steps,
with its schedule made for so many: a submission in a competition has more time than these runs. The
best of all by the validation metric runs again with other seeds. The validation target is the
median of the best values of these runs; the test target is the worst test metric, at the moment the
validation target is reached, of the runs that reach it (Dahl et al., 2023, arXiv:2306.07179,
section 4.2). AlgoPerf draws 200 points of each of four submissions, and runs the best 20 times.

The runs are trials of a competition: each has a process of its own, and the same command continues
what was interrupted.

Examples:
  python -m finishline.target_setting --workload=digits --output=docs/targets/digits.md
  python -m finishline.target_setting --suite=mini --output_dir=docs/targets
"""

import dataclasses
import shlex
import sys
from pathlib import Path

from absl import flags

from finishline import commandline
from finishline.competition import CompetitionConfig, plan
from finishline.errors import UserError
from finishline.organizer import Planned, run_trials
from finishline.records import write_atomically, write_json
from finishline.study import StudyConfig, plan_study
from finishline.suites import all_suites
from finishline.target_record import Run, markdown
from finishline.workload import find_workload

flags.DEFINE_list("workload", None, "Workloads whose targets to set; see also --suite.")
flags.DEFINE_enum("suite", None, list(all_suites()), "A set of workloads instead.")
flags.DEFINE_enum("framework", "jax", ["jax", "pytorch"], "Framework to run in.")
flags.DEFINE_list(
    "submissions", ["adamw", "nadamw", "momentum", "nesterov"], "Submissions, as in a competition."
)
flags.DEFINE_float("fraction", 0.75, "Length of a run as a fraction of step_hint.", 0.01, 1.0)
flags.DEFINE_integer("num_tuning_trials", 5, "Points of each submission.", lower_bound=1)
flags.DEFINE_integer("num_reruns", 5, "Runs of the best point with other seeds.", lower_bound=1)
flags.DEFINE_integer("num_devices", None, "Devices to train on. Default: all.", lower_bound=1)
flags.DEFINE_string("data_dir", "data", "Where the data sets are.")
flags.DEFINE_string("experiment_dir", "experiments", "Where the runs are recorded.")
flags.DEFINE_string("output", None, "Markdown file for the record of a single workload.")
flags.DEFINE_string("output_dir", None, "Folder for the records, <workload>.md.")

FLAGS = flags.FLAGS
_FOLDERS = ("data_dir=", "experiment_dir=", "output=", "output_dir=")


def main(argv: list[str]) -> int:
    """Sets the targets of each workload in turn; returns the exit code."""
    del argv
    if bool(FLAGS.workload) == bool(FLAGS.suite):
        raise UserError("Give either --workload or --suite: whose targets are to be set?")
    workloads = FLAGS.workload or all_suites()[FLAGS.suite].workloads
    if FLAGS.output and len(workloads) > 1:
        raise UserError(f"--output={FLAGS.output} is for one workload; use --output_dir for more.")
    for workload in workloads:
        find_workload(workload)
    for workload in workloads:
        code = _set_targets(workload)
        if code:
            return code
    return 0


def _set_targets(workload: str) -> int:
    config = CompetitionConfig(
        submissions=FLAGS.submissions,
        workloads=[workload],
        frameworks=[FLAGS.framework],
        num_tuning_trials=FLAGS.num_tuning_trials,
        data_dir=Path(FLAGS.data_dir),
        experiment_dir=Path(FLAGS.experiment_dir),
        experiment_name=f"target_setting_{workload}_{FLAGS.framework}",
        num_devices=FLAGS.num_devices,
        step_hint_fraction=FLAGS.fraction,
        stop_at_target=False,
        save_checkpoints=False,
    )
    planned = plan(config)
    ending = run_trials(planned, config.root)
    if ending is not None:
        return ending.exit_code
    definition = planned[0][1].workload
    runs = [Run.read(trial) for _, trial in planned]
    pick = min if definition.target.minimize else max
    best = pick(range(len(runs)), key=lambda i: runs[i].best(definition.target))
    again = _repetitions(planned[best][0], runs[best])
    ending = run_trials(again, config.root)
    if ending is not None:
        return ending.exit_code
    reruns = [Run.read(trial) for _, trial in again]
    _write(workload, markdown(_command(), definition, runs, reruns))
    return 0


def _repetitions(study: StudyConfig, best: Run) -> Planned:
    """Studies of the best point alone, which have other seeds."""
    assert study.experiment_name is not None
    space = study.experiment_dir / study.experiment_name / f"best_of_{best.workload}.json"
    write_json(space, [best.hyperparameters])
    studies = [
        dataclasses.replace(
            study, study=number, tuning_search_space=str(space), num_tuning_trials=1
        )
        for number in range(1, FLAGS.num_reruns + 1)
    ]
    return [(study, trial) for study in studies for trial in plan_study(study)]


def _write(workload: str, record: str) -> None:
    print(record)
    output = FLAGS.output or (FLAGS.output_dir and Path(FLAGS.output_dir) / f"{workload}.md")
    if output:
        write_atomically(Path(output), record.encode())


def _command() -> str:
    """This command, as it was typed, but for folders, which are those of one machine."""
    flags = [flag for flag in sys.argv[1:] if not flag.lstrip("-").startswith(_FOLDERS)]
    return shlex.join(["python", "-m", "finishline.target_setting", *flags])


if __name__ == "__main__":
    commandline.run(main)
