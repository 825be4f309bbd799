"""Scores a directory of logs: ``python -m scoring.score_submissions --help``."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags

from finishline.errors import BAD_INPUT_EXIT_CODE, UserError
from finishline.workload import Target
from scoring.leaderboard import print_leaderboard, write_leaderboard
from scoring.scores import Scores, compute_scores
from scoring.targets import load_targets_file

_USAGE = """\
Scores the logs of submissions and writes the leaderboard.

  python -m scoring.score_submissions --submission_directory DIR --output_dir OUT

DIR holds <submission>/study_<k>/<workload>_<jax|pytorch>/trial_<n>/eval_measurements.csv.
"""


def score_directory(
    root: Path,
    output_dir: Path,
    *,
    targets: Mapping[str, Target] | None = None,
    num_studies: int | None = None,
    workloads: Sequence[str] | None = None,
) -> Scores:
    """Scores the logs below ``root`` and writes the leaderboard's files to ``output_dir``.

    The arguments are those of ``scoring.scores.compute_scores``; ``output_dir`` is made if it is
    not there, and files of an earlier scoring are replaced.

    Raises:
      UserError: there are no logs, they do not fit each other or the arguments, or the files
        cannot be written.
    """
    scores = compute_scores(
        root, targets=targets, num_studies=num_studies, workloads=workloads, skip=output_dir
    )
    write_leaderboard(scores, output_dir)
    return scores


def _define_flags() -> flags.FlagValues:
    # Own values: another command line that imports this module keeps its flags to itself.
    values = flags.FlagValues()
    flags.DEFINE_string(
        "submission_directory", None, "Directory with one directory a submission.", values
    )
    flags.DEFINE_string("output_dir", None, "Where the leaderboard's files are written.", values)
    flags.DEFINE_string(
        "workload_targets",
        None,
        "JSON file with the scored workloads and their targets, in AlgoPerf's format (default: what"
        " the logs recorded, else the project's own targets).",
        values,
    )
    flags.DEFINE_integer(
        "num_studies",
        None,
        "Studies a workload; missing ones count as failed (default: the most any submission has).",
        lower_bound=1,
        flag_values=values,
    )
    flags.DEFINE_boolean("help", False, "Show this text.", values, short_name="h")
    return values


def main(argv: Sequence[str]) -> int:
    """Runs the command line ``argv`` (program name first) and returns its exit code."""
    values = _define_flags()
    try:
        surplus = values(argv)[1:]
        if values.help:
            print(f"{_USAGE}\n{values.get_help()}")
            return 0
        if surplus:
            raise UserError(f"The argument {surplus[0]!r} is not known; see --help.")
        print_leaderboard(_score(values))
    except flags.Error as error:
        print(f"Error: {' '.join(str(error).split()).rstrip('.')}; see --help.", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE
    print(f"\nWritten to {values.output_dir}.")
    return 0


def _score(values: flags.FlagValues) -> Scores:
    for name in ("submission_directory", "output_dir"):
        if not values[name].value:
            raise UserError(f"The flag --{name} is missing; see --help.")
    targets, workloads = None, None
    if values.workload_targets:
        file = load_targets_file(Path(values.workload_targets))
        targets, workloads = file.targets, file.base_workloads
        if file.held_out_workloads:
            print(f"Not scored: the held-out workloads {', '.join(file.held_out_workloads)}.\n")
    return score_directory(
        Path(values.submission_directory),
        Path(values.output_dir),
        targets=targets,
        num_studies=values.num_studies,
        workloads=workloads,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv))
