"""Keeps a leaderboard: entries from experiments, and the page from the entries.

  python -m finishline.entries add EXPERIMENT_DIR --leaderboard=leaderboard/digits
  python -m finishline.entries page --leaderboard=leaderboard/digits

'add' audits all trials in EXPERIMENT_DIR and, if they are sound, writes one TOML file a submission,
with the hashes of its logs, and copies of the logs. 'page' checks these hashes and makes the
leaderboard's files from the logs; the same entries always make the same bytes.

Exit codes: 0 done; 1 a trial is not sound, and nothing was added; 2 bad input.
"""

from pathlib import Path

from absl import flags

from finishline import commandline
from finishline.errors import UserError

flags.DEFINE_string("leaderboard", None, "Folder of the entries.", required=True)
flags.DEFINE_list("submissions", [], "add: only these submissions of the experiment.")
flags.DEFINE_bool("overwrite", False, "add: replace entries that are there.")
flags.DEFINE_string(
    "data_dir", None, "add: where the data sets are. Default: where the trials had them."
)
flags.DEFINE_string(
    "output_dir", None, "page: where its files go. Default: page/ beside the entries."
)
flags.DEFINE_bool("html", True, "page: write leaderboard.html, too.")

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    """Does what ``argv[0]`` says; returns the exit code."""
    command, *rest = argv
    board = Path(FLAGS.leaderboard).expanduser()
    if command == "add" and len(rest) == 1:
        return _add(Path(rest[0]), board)
    if command == "page" and not rest:
        return _page(board)
    raise UserError(
        f"The arguments {' '.join(argv)!r} are neither 'add EXPERIMENT_DIR' nor 'page'; see --help."
    )


def _add(experiment: Path, board: Path) -> int:
    from finishline.auditing.report import overall, print_report
    from finishline.auditing.trial import Options, Verdict, audit_runs
    from scoring.runs import find_runs

    try:
        from finishline.board.adding import add, check_vacant, select
    except ModuleNotFoundError as error:
        raise UserError(
            f"Entries need the package {error.name!r}, which is not installed; run `pip install -c "
            "constraints.txt -e '.[check]'`."
        ) from error

    runs = select(find_runs(experiment), FLAGS.submissions)
    if not FLAGS.overwrite:
        check_vacant(runs, board)
    data_dir = Path(FLAGS.data_dir).expanduser() if FLAGS.data_dir else None
    audits = audit_runs(runs, Options(data_dir=data_dir))
    print_report(audits)
    if overall(audits) is Verdict.UNSOUND:
        print("Nothing is added: all trials must be sound.")
        return 1
    for path in add(audits, board):
        print(f"Added {path}")
    return 0


def _page(board: Path) -> int:
    from finishline.board.page import write_page
    from scoring.tables import print_leaderboard

    output_dir = Path(FLAGS.output_dir).expanduser() if FLAGS.output_dir else board / "page"
    print_leaderboard(write_page(board, output_dir, html=FLAGS.html))
    print(f"\nWritten to {output_dir}.")
    return 0


if __name__ == "__main__":
    commandline.run(main, argument="'add' or 'page'", is_repeated=True)
