"""Finding and reading the logs of trials.

A trial lies in ``<root>/<submission>/study_<k>/<workload>_<framework>/trial_<n>/`` and is known by
these names alone. Its clock readings and metrics are in ``eval_measurements.csv``; ``meta.json``,
which logs of AlgoPerf do not have, tells how it ended.
"""

import csv
import dataclasses
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finishline.workload import Target

EVALUATIONS_FILE = "eval_measurements.csv"
META_FILE = "meta.json"
TIME_COLUMN = "accumulated_submission_time"

# No leading zeros: study_1 and study_01 would be two directories of one number.
_STUDY = re.compile(r"study_(0|[1-9][0-9]*)")
_TRIAL = re.compile(r"trial_(0|[1-9][0-9]*)")
_WORKLOAD = re.compile(r"(.+)_(jax|pytorch)")


class LogError(Exception):
    """A log cannot be used; the message is the reason, to follow the file's name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Something in the logs that a reader of the leaderboard should know."""

    path: Path
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Meta:
    """What ``meta.json`` says of a trial.

    Attributes:
      status: how the trial ended, a value of ``finishline.errors.Status`` if all is well.
      message: why it ended so.
      target: the target that the trial ran against; None if the file has none.
    """

    status: str
    message: str
    target: Target | None


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """Where a trial is: its directory and the names that the directory stands for."""

    submission: str
    study: int
    workload: str
    framework: str
    number: int
    path: Path


@dataclasses.dataclass(frozen=True, slots=True)
class Logs:
    """All that was found below a root directory, sorted by name and number.

    Attributes:
      submissions: the directories with at least one study.
      trials: the trials of all submissions.
      problems: directories that look like logs, but are none.
    """

    submissions: tuple[str, ...]
    trials: tuple[Trial, ...]
    problems: tuple[Problem, ...]


def find_logs(root: Path, *, skip: Path | None = None) -> Logs:
    """Finds the trials below ``root``; ``skip`` is a directory to leave out, such as the output's.

    Files, hidden directories and directories under other names are passed over. Those that
    somebody may take for logs (``trial_1_old``) are named in the problems.
    """
    submissions: list[str] = []
    trials: list[Trial] = []
    problems: list[Problem] = []
    for folder in _folders(root):
        if skip is not None and folder.resolve() == skip.resolve():
            continue
        if not any(_STUDY.fullmatch(study.name) for study in _folders(folder)):
            problems.append(Problem(folder, "is no submission: it has no directory study_<k>"))
            continue
        found = list(_trials_of(folder, problems))
        if not found:
            problems.append(Problem(folder, "has no trial, so all its times are infinite"))
        submissions.append(folder.name)
        trials.extend(found)
    return Logs(tuple(submissions), tuple(trials), tuple(problems))


def _trials_of(submission: Path, problems: list[Problem]) -> Iterator[Trial]:
    for study_path, study in _named(submission, _STUDY, "study_<k>", problems):
        pattern = "<workload>_jax or <workload>_pytorch"
        for workload_path, workload in _named(study_path, _WORKLOAD, pattern, problems):
            for path, trial in _named(workload_path, _TRIAL, "trial_<n>", problems):
                yield Trial(
                    submission.name, int(study[1]), workload[1], workload[2], int(trial[1]), path
                )


def _named(
    folder: Path, pattern: re.Pattern[str], description: str, problems: list[Problem]
) -> list[tuple[Path, re.Match[str]]]:
    """The directories in ``folder`` whose whole name matches; the others become problems."""
    found = []
    for path in _folders(folder):
        if match := pattern.fullmatch(path.name):
            found.append((path, match))
        else:
            problems.append(Problem(path, f"is not counted: its name is not {description}"))
    return found


def _folders(parent: Path) -> list[Path]:
    paths = (path for path in parent.iterdir() if not path.name.startswith("."))
    return sorted((path for path in paths if path.is_dir()), key=_by_name_and_number)


def _by_name_and_number(path: Path) -> tuple[str, int, str]:
    """Sorts ``trial_10`` after ``trial_9``."""
    name, _, number = path.name.rpartition("_")
    return (name, int(number), "") if number.isdecimal() else (path.name, -1, "")


def read_meta(trial: Path) -> Meta | None:
    """Reads ``meta.json`` in the directory of a trial; None if there is none.

    Raises:
      LogError: the file is damaged.
    """
    try:
        content = json.loads((trial / META_FILE).read_text(encoding="utf-8"))
        target = content.get("target")
        return Meta(
            status=str(content.get("status") or "unfinished"),
            message=str(content.get("message") or ""),
            target=None if target is None else _read_target(target),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise LogError(f"is damaged ({_one_line(error)})") from error


def _read_target(target: Any) -> Target:
    value = float(target["validation"])
    if not math.isfinite(value) or not isinstance(target["minimize"], bool):
        raise ValueError(f"the target {target} has no finite value or no direction")
    return Target(
        metric=str(target["metric"]),
        minimize=target["minimize"],
        validation=value,
        test=math.nan,
    )


def read_evaluations(trial: Path, metric: str) -> list[tuple[float, float]]:
    """Reads the evaluations of a trial.

    Args:
      trial: the directory of the trial.
      metric: the name of the metric, without ``validation/``.

    Returns:
      (seconds of submission time, value of the validation metric) by evaluation, in the order of
      the file; an empty cell of the metric is NaN. Empty if there is no file or no row.

    Raises:
      LogError: the file is damaged; the whole of it is then worth nothing.
    """
    try:
        with (trial / EVALUATIONS_FILE).open(newline="", encoding="utf-8") as file:
            return _parse_evaluations(csv.reader(file), f"validation/{metric}")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LogError(f"cannot be read ({_one_line(error)})") from error


def _parse_evaluations(rows: Iterator[list[str]], column: str) -> list[tuple[float, float]]:
    header = next(rows, None)
    if header is None:
        raise LogError("is empty")
    for name in (TIME_COLUMN, column):
        if header.count(name) != 1:
            raise LogError(f"has {header.count(name)} columns {name!r} instead of one")
    time_index, metric_index = header.index(TIME_COLUMN), header.index(column)
    evaluations: list[tuple[float, float]] = []
    latest = 0.0
    for number, row in enumerate(filter(None, rows), start=1):
        if len(row) != len(header):
            raise LogError(f"has {len(row)} cells in row {number} and {len(header)} in its header")
        try:
            time, value = float(row[time_index]), float(row[metric_index] or "nan")
        except ValueError as error:
            raise LogError(f"has no number in row {number} ({_one_line(error)})") from error
        if not latest <= time < math.inf:
            raise LogError(f"goes from {latest} s to {time} s in row {number}")
        evaluations.append((time, value))
        latest = time
    return evaluations


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
