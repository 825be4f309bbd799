"""An entry of a board: one submission, and the hashes of the logs that its result comes from."""

import dataclasses
import datetime
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finishline.digests import sha256_of
from finishline.errors import UserError
from finishline.records import (
    EVALS_FILE,
    EVENTS_FILE,
    HPARAMS_FILE,
    MEASUREMENTS_FILE,
    META_FILE,
)

# What is kept of a trial: the log, and what is made of it for whoever scores or plots.
LOG_FILES = (EVENTS_FILE, META_FILE, EVALS_FILE, MEASUREMENTS_FILE, HPARAMS_FILE)
LOGS_FOLDER = "logs"
_HEADER = (
    "# Made by `python -m finishline.entries add`; leaderboard/README.md says what it means.\n"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialEntry:
    """One trial.

    Attributes:
      path: its folder below the submission's logs, with ``/``.
      status: how it ended.
      submission_time: seconds of submission time.
      verdict: what the audit came to.
      warnings: the kinds of the audit's warnings.
      sha256: the hash of each file of the log.
    """

    path: str
    status: str
    submission_time: float
    verdict: str
    warnings: list[str]
    sha256: dict[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One submission on a board.

    Attributes:
      submission: its name on the board, ``<algorithm>_<framework>``.
      name, version, authors: as ``submission_info.yml`` has them.
      framework: 'jax' or 'pytorch'.
      ruleset: 'external' or 'self'.
      benchmark_version: the version of the benchmark by whose numbers it ran.
      hardware_class: the class of machines whose budgets applied.
      date: the day on which its last trial ended.
      source_hash: SHA-256 of the submission's sources.
      harness_hash: SHA-256 of the harness's.
      logs: where its logs are, relative to the entry, or absolute.
      hardware: the machine.
      versions: of the packages.
      trials: all of them.
    """

    submission: str
    name: str
    version: str
    authors: str
    framework: str
    ruleset: str
    benchmark_version: str
    hardware_class: str
    date: datetime.date
    source_hash: str
    harness_hash: str
    logs: str
    hardware: dict[str, Any]
    versions: dict[str, str]
    trials: list[TrialEntry]


def to_toml(entry: Entry) -> str:
    """The entry as a file. The same entry always makes the same text."""
    fields = dataclasses.asdict(entry)
    hardware, versions, trials = (fields.pop(name) for name in ("hardware", "versions", "trials"))
    parts = [_HEADER + _table(fields), f"[hardware]\n{_table(hardware)}"]
    parts.append(f"[versions]\n{_table(versions)}")
    for trial in trials:
        sha256 = trial.pop("sha256")
        parts.append(f"[[trials]]\n{_table(trial)}\n[trials.sha256]\n{_table(sha256)}")
    return "\n".join(parts)


def _table(fields: Mapping[str, Any]) -> str:
    return "".join(f"{_key(name)} = {_value(value)}\n" for name, value in fields.items())


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() and name.isascii() else _value(name)


def _value(value: Any) -> str:
    """A value in TOML: as in JSON, but for dates and the character that JSON does not escape."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_entries(board: Path) -> dict[Path, Entry]:
    """The entries of a board by their files, in the order of their names.

    Raises:
      UserError: there are none, or one is not right; the message names the file.
    """
    paths = sorted(board.glob("*.toml"))
    if not paths:
        raise UserError(
            f"There are no entries *.toml in {board}; add some with `python -m finishline.entries "
            f"add EXPERIMENT_DIR --leaderboard={board}`."
        )
    return {path: _read(path) for path in paths}


def _read(path: Path) -> Entry:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        trials = [TrialEntry(**trial) for trial in content.pop("trials")]
        entry = Entry(**content, trials=trials)
        if not all(isinstance(one.sha256, dict) for one in trials):
            raise TypeError("a trial's sha256 is no table")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"The entry {path} cannot be used ({error}); restore it.") from error
    if path.stem != entry.submission:
        raise UserError(
            f"The entry {path} is of {entry.submission!r}; call it {entry.submission}.toml."
        )
    return entry


def check_logs(path: Path, entry: Entry) -> Path:
    """Checks that the logs of an entry are those that were audited; returns where they are.

    Raises:
      UserError: a file is missing, was changed, or is there without being in the entry.
    """
    logs = path.parent / entry.logs
    known = set()
    for trial in entry.trials:
        for name in LOG_FILES:
            file = logs / trial.path / name
            known.add(file)
            if file_hash(file) != trial.sha256.get(name):
                state = "is not what was audited" if file.exists() else "is missing"
                raise UserError(
                    f"{file} {state}: its hash does not fit {path}; restore it, or add the entry "
                    "anew from its experiment."
                )
    for file in _record_files(logs):
        if file not in known:
            raise UserError(f"{file} is in no trial of {path}; remove it, or add the entry anew.")
    return logs


def _record_files(logs: Path) -> Iterator[Path]:
    for name in LOG_FILES:
        yield from sorted(logs.rglob(name))


def file_hash(path: Path) -> str | None:
    """SHA-256 of a file, hexadecimal; None if it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return None
