"""Audits trials: what an organizer runs before a result is published.

  python -m finishline.audit RUN_DIR [RUN_DIR ...]

RUN_DIR is the folder of a trial, or any folder with trials in it. The snapshot with which a trial
met its target is measured again, in a fresh process, with the reference code and the validation
data; log, clock, seeds, hyperparameters, rules, versions, limits and source are checked. The
verdict is 'sound', 'sound with warnings' or 'not sound', with reasons.

Exit codes: 0 sound, also with warnings; 1 not sound; 2 bad input.
"""

from pathlib import Path

from absl import flags

from finishline import commandline

flags.DEFINE_string("data_dir", None, "Where the data sets are. Default: where the trial had them.")
flags.DEFINE_float(
    "tolerance",
    1e-5,
    "Relative difference that metrics may have when they are measured again; sums in another order "
    "make some, on another kind of device more.",
    lower_bound=0.0,
)
flags.DEFINE_bool(
    "cross_framework", False, "Measure with the other framework's model and code, too."
)
flags.DEFINE_float(
    "cross_tolerance", 1e-3, "Relative difference for --cross_framework.", lower_bound=0.0
)
flags.DEFINE_bool("rerun", False, "Run each trial again, with the same seeds, and compare.")
flags.DEFINE_string(
    "rerun_dir", None, "Experiment folder for --rerun. Default: one that is deleted afterwards."
)
flags.DEFINE_float(
    "time_tolerance",
    None,
    "Relative difference that times of a rerun may have, beside the time between evaluations. "
    "Default: how much the seconds a step varied within the trial.",
    lower_bound=0.0,
)
flags.DEFINE_bool("json", False, "Print the report as JSON.")

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    """Audits the trials in the folders ``argv``; returns the exit code."""
    from finishline.auditing.report import overall, print_report, to_json
    from finishline.auditing.trial import Options, Verdict, audit_runs
    from scoring.runs import find_runs

    options = Options(
        data_dir=_path(FLAGS.data_dir),
        tolerance=FLAGS.tolerance,
        cross_framework=FLAGS.cross_framework,
        cross_tolerance=FLAGS.cross_tolerance,
        rerun=FLAGS.rerun,
        rerun_dir=_path(FLAGS.rerun_dir),
        time_tolerance=FLAGS.time_tolerance,
    )
    runs = {run.path.resolve(): run for folder in argv for run in find_runs(Path(folder))}
    audits = audit_runs(list(runs.values()), options)
    if FLAGS.json:
        print(to_json(audits), end="")
    else:
        print_report(audits)
    return int(overall(audits) is Verdict.UNSOUND)


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None


if __name__ == "__main__":
    commandline.run(main, argument="RUN_DIR", is_repeated=True)
