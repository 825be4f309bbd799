"""Checks a submission: for competitors before a pull request, for organizers before scoring.

Looks at the files, metadata, requirements, functions and search space in SUBMISSION_DIR, points out
places in the source that a reviewer will look at, and trains for three steps on small workloads.
The exit code is 0 if there is no problem, 1 if there is one, 2 for bad input.

Example:
  python -m finishline.check submissions/my_algorithm
"""

import importlib
import json
import sys
import types
from pathlib import Path

from absl import flags

from finishline import commandline, executor_flags
from finishline.checking.dry_run import DryRun
from finishline.checking.files import Limits
from finishline.checking.folder import Folder
from finishline.errors import UserError
from finishline.frameworks import FRAMEWORKS
from finishline.workload import check_data, find_workload

flags.DEFINE_enum(
    "framework", None, FRAMEWORKS, "Framework to check. Default: all that the submission is for."
)
flags.DEFINE_list(
    "workloads", ["digits", "criteo1tb_mini"], "Workloads of the dry run; empty for no dry run."
)
flags.DEFINE_string("data_dir", "data", "Where the data sets are.")
flags.DEFINE_float("max_file_mib", 1.0, "How large a file may be, in MiB.", lower_bound=0.0)
flags.DEFINE_float("max_total_mib", 10.0, "How large all files may be, in MiB.", lower_bound=0.0)
flags.DEFINE_integer("max_files", 200, "How many files there may be.", lower_bound=1)
flags.DEFINE_bool("json", False, "Print the report as JSON.")
executor_flags.define()

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    """Checks the folder that the command line names; returns the exit code."""
    check = _import_checker().check
    folder = Folder.open(argv[0], FLAGS.framework)
    report = check(folder, _limits(), _dry_run() if FLAGS.workloads else None)
    if FLAGS.json:
        print(json.dumps(report.describe(), indent=2))
    else:
        from rich.console import Console

        from finishline.checking.presentation import show

        show(report, Console(highlight=False))
    return report.exit_code


def _import_checker() -> types.ModuleType:
    try:
        return importlib.import_module("finishline.checking.checker")
    except ImportError as error:
        raise UserError(
            f"The checker needs the package {error.name!r}, which is not installed; run "
            "`pip install -c constraints.txt -e '.[check]'`."
        ) from error


def _limits() -> Limits:
    return Limits(
        file_bytes=round(FLAGS.max_file_mib * 2**20),
        total_bytes=round(FLAGS.max_total_mib * 2**20),
        num_files=FLAGS.max_files,
    )


def _dry_run() -> DryRun:
    """The plan, after all that could go wrong without being the submission's fault."""
    data_dir, executor = Path(FLAGS.data_dir).expanduser(), executor_flags.executor()
    for name in FLAGS.workloads:
        check_data(find_workload(name), data_dir)
    executor.check()
    return DryRun(
        workloads=FLAGS.workloads,
        data_dir=data_dir,
        executor=executor,
        more_flags=executor_flags.arguments(),
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )


if __name__ == "__main__":
    commandline.run(main, argument="SUBMISSION_DIR")
