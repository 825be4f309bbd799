"""Finding the logs of trials, and what lies beside the evaluations.

A trial lies in ``<root>/<submission>/study_<k>/<workload>_<framework>/trial_<n>/`` and is known by
these names alone. Its clock readings and metrics are in ``eval_measurements.csv`` (see
``scoring.evaluations``). ``meta.json``, which logs of AlgoPerf do not have, tells how it ended.
"""

import dataclasses
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from finishline.workload import Target
from scoring.evaluations import Evaluations, LogError, one_line

__all__ = ["Evaluations", "LogError"]

EVALUATIONS_FILE = "eval_measurements.csv"
META_FILE = "meta.json"
HPARAMS_FILE = "hparams.json"
MAX_LOG_BYTES = 1 << 28  # an evaluation a minute for a year is less

# No leading zeros: study_1 and study_01 would be two directories of one number.
_STUDY = re.compile(r"study_(0|[1-9][0-9]*)")
_TRIAL = re.compile(r"trial_(0|[1-9][0-9]*)")
_PUBLISHED_TRIAL = re.compile(r"trial_([0-9]+)")  # as a prefix
_WORKLOAD = re.compile(r"(.+)_(jax|pytorch)", re.DOTALL)
_NUMBERS = re.compile(r"([0-9]+)")


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """Something in the logs that a reader of the leaderboard should know.

    Attributes:
      path: where, relative to the directory of the logs.
      reason: what, in words that follow the path.
    """

    path: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Meta:
    """What ``meta.json`` says of a trial.

    Attributes:
      status: how the trial ended, a value of ``finishline.errors.Status`` if all is well.
      message: why it ended so.
      target: the target that the trial ran against; None if the file has none.
      content: the whole of it.
    """

    status: str
    message: str
    target: Target | None
    content: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """Where a trial is: its directory and the names that the directory stands for.

    Attributes:
      study: name of the directory of the study, such as ``study_0``.
      path: relative to the directory of the logs, with ``/``.
      is_regular: whether all names follow the layout; if not, the default rules do not count it.
    """

    submission: str
    study: str
    workload: str
    framework: str
    number: int
    path: str
    is_regular: bool = True


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


def find_logs(root: Path, *, skip: Path | None = None, as_published: bool = False) -> Logs:
    """Finds the trials below ``root``; ``skip`` is a directory to leave out, such as the output's.

    Files and hidden directories are passed over. Directories that somebody may take for logs
    (``trial_1_old``) are named in the problems. Those that AlgoPerf's scorer counts are among the
    trials, too: studies under any name and trials whose names go on after the number.
    """
    return _Finder(root, skip, as_published).find()


class _Finder:
    def __init__(self, root: Path, skip: Path | None, as_published: bool):
        self._root = str(root)
        self._skip = None if skip is None else os.path.realpath(skip)
        self._as_published = as_published
        self._submissions: list[str] = []
        self._trials: list[Trial] = []
        self._problems: list[Problem] = []

    def find(self) -> Logs:
        for name in self._folders(""):
            if self._skip != os.path.realpath(os.path.join(self._root, name)):
                self._find_submission(name)
        if self._as_published:
            for name in _files(self._root):
                self._tell(name, "is a file and no submission: it stops AlgoPerf's own scorer")
        return Logs(tuple(self._submissions), tuple(self._trials), tuple(self._problems))

    def _find_submission(self, name: str) -> None:
        studies = self._folders(name)
        if not self._as_published and not any(map(_STUDY.fullmatch, studies)):
            self._tell(name, "is no submission: it has no directory study_<k>")
            return
        before = len(self._trials)
        for study in studies:
            is_regular = self._check(_STUDY.fullmatch, f"{name}/{study}", study, "study_<k>", True)
            self._find_workloads(name, study, is_regular)
        if len(self._trials) == before:
            self._tell(name, "has no trial, so all its times are infinite")
        self._submissions.append(name)

    def _find_workloads(self, submission: str, study: str, is_regular: bool) -> None:
        for folder in self._folders(f"{submission}/{study}"):
            path = f"{submission}/{study}/{folder}"
            pattern = "<workload>_jax or <workload>_pytorch"
            if not self._check(_WORKLOAD.fullmatch, path, folder, pattern, False):
                continue
            workload, framework = folder.rsplit("_", 1)
            for trial in self._folders(path):
                match = _PUBLISHED_TRIAL.match(trial)
                is_named = self._check(
                    _TRIAL.fullmatch, f"{path}/{trial}", trial, "trial_<n>", match is not None
                )
                if match is not None:
                    one = Trial(
                        submission,
                        study,
                        workload,
                        framework,
                        int(match[1][:18]),
                        f"{path}/{trial}",
                        is_regular and is_named,
                    )
                    self._trials.append(one)

    def _check(
        self, matches: Callable[[str], Any], path: str, name: str, pattern: str, published: bool
    ) -> bool:
        """Whether the whole name matches; if not, it is a problem."""
        if matches(name):
            return True
        if published and self._as_published:
            self._tell(path, f"counts under the published rules only: its name is not {pattern}")
        else:
            self._tell(path, f"is not counted: its name is not {pattern}")
        return False

    def _folders(self, path: str) -> list[str]:
        try:
            with os.scandir(os.path.join(self._root, path)) as entries:
                names = [one.name for one in entries if _is_folder(one)]
        except OSError as error:
            self._tell(path, f"cannot be read ({error.strerror})")
            return []
        return sorted(names, key=natural_order)

    def _tell(self, path: str, reason: str) -> None:
        self._problems.append(Problem(path, reason))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.name.startswith(".") and entry.is_dir()
    except OSError:  # such as a loop of symbolic links
        return False


def _files(root: str) -> Iterator[str]:
    with os.scandir(root) as entries:
        names = [one.name for one in entries if not one.name.startswith(".") and one.is_file()]
    yield from sorted(names)


def natural_order(name: str) -> tuple[tuple[Any, ...], str]:
    """Sorts ``trial_10`` after ``trial_9``."""
    parts = _NUMBERS.split(name)
    return tuple(
        (int(part[:18]), part) if index % 2 else part for index, part in enumerate(parts)
    ), name


def read_bytes(path: str) -> bytes | None:
    """The content of a regular file; None if there is none.

    Raises:
      LogError: it cannot be read, is no file, or is larger than any log.
    """
    try:
        # A pipe must not make the scoring wait for somebody who writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise LogError(f"cannot be read ({one_line(error, path)})") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise LogError("is no regular file")
        if status.st_size > MAX_LOG_BYTES:
            raise LogError(f"has {status.st_size:,} bytes, which no log has")
        content = os.read(descriptor, status.st_size + 1)
        while len(content) < status.st_size and (part := os.read(descriptor, status.st_size)):
            content += part
        return content
    except OSError as error:
        raise LogError(f"cannot be read ({one_line(error, path)})") from error
    finally:
        os.close(descriptor)


def read_json(path: str) -> dict[str, Any] | None:
    """A file that holds a JSON object; None if there is none.

    Raises:
      LogError: the file is damaged.
    """
    content = read_bytes(path)
    if content is None:
        return None
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise LogError(f"is damaged ({one_line(error)})") from error
    if not isinstance(value, dict):
        raise LogError("is damaged (it holds no JSON object)")
    return value


def read_meta(trial: str) -> Meta | None:
    """Reads ``meta.json`` in the directory of a trial; None if there is none.

    Raises:
      LogError: the file is damaged.
    """
    content = read_json(f"{trial}/{META_FILE}")
    if content is None:
        return None
    target = content.get("target")
    try:
        return Meta(
            status=str(content.get("status") or "unfinished"),
            message=str(content.get("message") or ""),
            target=None if target is None else _read_target(target),
            content=content,
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise LogError(f"is damaged ({one_line(error)})") from error


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
