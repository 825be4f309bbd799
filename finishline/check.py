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
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from finishline import commandline
from finishline.checking.files import Limits, check_files
from finishline.checking.folder import Folder
from finishline.checking.report import Report, Section
from finishline.errors import UserError
from finishline.frameworks import FRAMEWORKS
from finishline.workload import find_workload

flags.DEFINE_enum(
    "framework", None, FRAMEWORKS, "Framework to check. Default: all that the submission is for."
)
flags.DEFINE_list(
    "workloads", ["digits", "criteo1tb_mini"], "Workloads of the dry run; empty for no dry run."
)
flags.DEFINE_enum(
    "executor",
    "local",
    ["local", "docker"],
    "Where the dry run trains: in a process of this machine, or in a container.",
)
flags.DEFINE_string("docker_image", None, "Image of the containers, by name or id.")
flags.DEFINE_string("data_dir", "data", "Where the data sets are.")
flags.DEFINE_float("max_file_mib", 1.0, "How large a file may be, in MiB.", lower_bound=0.0)
flags.DEFINE_float("max_total_mib", 10.0, "How large all files may be, in MiB.", lower_bound=0.0)
flags.DEFINE_integer("max_files", 200, "How many files there may be.", lower_bound=1)
flags.DEFINE_bool("json", False, "Print the report as JSON.")

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    """Checks the folder that the command line names; returns the exit code."""
    _import_sections()
    folder = Folder.open(argv[0], FLAGS.framework)
    for name in FLAGS.workloads:
        find_workload(name)
    report = check(folder, _executor_flags())
    if FLAGS.json:
        print(json.dumps(report.describe(), indent=2))
    else:
        from rich.console import Console

        from finishline.checking.presentation import show

        show(report, Console(highlight=False))
    return report.exit_code


def _import_sections() -> None:
    for name in ("metadata", "requirements"):
        try:
            importlib.import_module(f"finishline.checking.{name}")
        except ImportError as error:
            raise UserError(
                f"The checker needs the package {error.name!r}, which is not installed; run "
                "`pip install -c constraints.txt -e '.[check]'`."
            ) from error


def check(folder: Folder, executor_flags: Sequence[str]) -> Report:
    """All sections, as far as those before them let them be looked at.

    Args:
      folder: the submission.
      executor_flags: those of ``submission_runner.py`` that say where the dry run trains.
    """
    files = check_files(folder, _limits())
    if files.has_problems:
        rest = ("metadata", "requirements", "API", "search space", "source", "dry run")
        skipped = (Section(name, "not looked at", was_skipped=True) for name in rest)
        return Report(folder.home, (files, *skipped))
    from finishline.checking.hints import check_source
    from finishline.checking.interface import check_interface, check_search_space
    from finishline.checking.metadata import check_metadata
    from finishline.checking.requirements import check_requirements

    metadata, info = check_metadata(folder)
    sections = [files, metadata, check_requirements(folder), check_interface(folder)]
    sections += [check_search_space(folder, info), check_source(folder)]
    ruleset = info.ruleset or ("self" if _has_no_space(folder) else "external")
    is_sound = not any(section.has_problems for section in sections[3:])
    dry_run = _dry_run(folder, ruleset, executor_flags, is_sound)
    return Report(folder.home, (*sections, dry_run))


def _limits() -> Limits:
    return Limits(
        file_bytes=round(FLAGS.max_file_mib * 2**20),
        total_bytes=round(FLAGS.max_total_mib * 2**20),
        num_files=FLAGS.max_files,
    )


def _has_no_space(folder: Folder) -> bool:
    return all(file.search_space_path is None for file in folder.submissions.values())


def _dry_run(
    folder: Folder, ruleset: str, executor_flags: Sequence[str], is_sound: bool
) -> Section:
    if not FLAGS.workloads:
        return Section("dry run", "not asked for", was_skipped=True)
    if not is_sound:
        return Section("dry run", "not before the problems above are mended", was_skipped=True)
    from finishline.checking.dry_run import DryRun, check_dry_run

    plan = DryRun(
        workloads=FLAGS.workloads,
        data_dir=Path(FLAGS.data_dir).expanduser(),
        ruleset=ruleset,
        more_flags=executor_flags,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    return check_dry_run(folder, plan)


def _executor_flags() -> list[str]:
    if FLAGS.executor == "local" or not FLAGS.workloads:
        return []
    if not FLAGS.docker_image:
        raise UserError(
            "--executor=docker needs --docker_image; build one as docker/README.md says."
        )
    return ["--executor=docker", f"--docker_image={FLAGS.docker_image}"]


if __name__ == "__main__":
    commandline.run(main, argument="SUBMISSION_DIR")
