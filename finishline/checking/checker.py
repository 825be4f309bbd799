"""All sections of the check, in their order."""

from finishline.checking.dry_run import DryRun, check_dry_run
from finishline.checking.files import Limits, check_files
from finishline.checking.folder import Folder
from finishline.checking.hints import check_source
from finishline.checking.interface import check_interface, check_search_space
from finishline.checking.metadata import check_metadata
from finishline.checking.report import Report, Section
from finishline.checking.requirements import check_requirements

_AFTER_FILES = ("metadata", "requirements", "API", "search space", "source", "dry run")


def check(folder: Folder, limits: Limits | None = None, dry_run: DryRun | None = None) -> Report:
    """Looks at everything, as far as what was found before lets it be looked at.

    Args:
      folder: the submission.
      limits: how large it may be; None is the usual.
      dry_run: how to run it for a few steps; None is not at all.
    """
    files = check_files(folder, limits or Limits())
    if files.has_problems:
        skipped = (Section(name, "not looked at", was_skipped=True) for name in _AFTER_FILES)
        return Report(folder.home, (files, *skipped))
    metadata, info = check_metadata(folder)
    interface, space = check_interface(folder), check_search_space(folder, info)
    sections = (files, metadata, check_requirements(folder), interface, space, check_source(folder))
    if dry_run is None:
        last = Section("dry run", "not asked for", was_skipped=True)
    elif interface.has_problems or space.has_problems:
        last = Section("dry run", "not before the problems above are mended", was_skipped=True)
    else:
        last = check_dry_run(folder, dry_run, info.ruleset or folder.ruleset)
    return Report(folder.home, (*sections, last))
