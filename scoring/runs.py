"""Finding run directories below any folder: a competition, several of them, or a single trial.

``scoring.logs`` finds what counts in a score, which must lie in one layout. The tools that look at
records also take what lies elsewhere.
"""

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path

from finishline.errors import UserError
from finishline.frameworks import FRAMEWORKS
from finishline.records import EVALS_FILE, EVENTS_FILE, META_FILE

_RECORDS = frozenset({EVALS_FILE, EVENTS_FILE, META_FILE})
# No leading zeros: study_1 and study_01 would be two folders of one number.
_STUDY = re.compile(r"study_(0|[1-9]\d*)", re.ASCII)
_TRIAL = re.compile(r"trial_(0|[1-9]\d*)", re.ASCII)
_WORKLOAD = re.compile(f"(.+)_({'|'.join(FRAMEWORKS)})", re.DOTALL)
_MAX_DEPTH = 32


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Names:
    """What the folders of a trial say it is."""

    submission: str
    study: int
    workload: str
    framework: str
    trial: int


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """A run directory.

    Attributes:
      path: the folder of the trial, below the folder that was searched.
      names: what its place says it is; None if it does not lie in
        ``<submission>/study_<k>/<workload>_<framework>/trial_<n>``.
    """

    path: Path
    names: Names | None

    @property
    def competition(self) -> str:
        """The folder that holds the submission's, as an absolute path."""
        return os.path.abspath(self.path.joinpath(*[os.pardir] * 4)) if self.names else ""


def find_runs(root: Path) -> list[Run]:
    """All run directories in ``root`` or below it, and ``root`` itself if it is one, sorted.

    A folder is one if it holds a record or is called ``trial_...``. Hidden folders are passed over;
    links are followed, each folder once.

    Raises:
      UserError: ``root`` is no folder, cannot be read, or holds no run directory.
    """
    if not root.is_dir():
        raise UserError(f"There is no directory {root}; give one that holds trials.")
    try:
        paths = sorted(_run_paths(root), key=_by_names_and_numbers)
    except OSError as error:
        raise UserError(
            f"The directory {error.filename} cannot be read ({error.strerror}); "
            "correct its permissions."
        ) from error
    if not paths:
        raise UserError(
            f"The directory {root} holds no trial; give one that has folders "
            "<submission>/study_<k>/<workload>_<framework>/trial_<n> in it."
        )
    return [Run(path, names_of(path)) for path in paths]


def names_of(path: Path) -> Names | None:
    """What the place of a trial says it is; None if it is in no such place."""
    parts = Path(os.path.abspath(path)).parts[-4:]
    if len(parts) < 4:
        return None
    study, trial = _STUDY.fullmatch(parts[1]), _TRIAL.fullmatch(parts[3])
    workload = _WORKLOAD.fullmatch(parts[2])
    if not (study and workload and trial):
        return None
    return Names(parts[0], _integer(study[1]), workload[1], workload[2], _integer(trial[1]))


def _integer(digits: str) -> int:
    return int(digits[:18])  # thousands of digits are no number to ``int``


def _run_paths(root: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    pending = [(root, 0)]
    while pending:
        folder, depth = pending.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen or depth > _MAX_DEPTH:
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            found = [(entry.name, _is_folder(entry)) for entry in entries]
        is_record = any(name in _RECORDS for name, _ in found)
        if is_record or _is_trial_name(Path(os.path.abspath(folder))):
            yield folder
            continue
        pending += [
            (folder / name, depth + 1)
            for name, is_folder in found
            if is_folder and not name.startswith(".")
        ]


def _is_trial_name(path: Path) -> bool:
    return path.name.startswith("trial_") and path.name[6:7].isdecimal()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _by_names_and_numbers(path: Path) -> list[tuple[str, int]]:
    """Sorts ``trial_10`` after ``trial_9``."""
    key = []
    for part in path.parts:
        name, _, number = part.rpartition("_")
        is_number = number.isascii() and number.isdecimal()
        key.append((name, _integer(number)) if is_number else (part, -1))
    return key
