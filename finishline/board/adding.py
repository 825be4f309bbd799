"""Making entries from trials that have been audited."""

import collections
import datetime
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from finishline.auditing.record import Record
from finishline.auditing.trial import Audit, Verdict
from finishline.benchmark import NEWEST
from finishline.board.entry import LOG_FILES, LOGS_FOLDER, Entry, TrialEntry, file_hash, to_toml
from finishline.checking.folder import INFO_FILE, Folder
from finishline.checking.metadata import check_metadata
from finishline.checking.report import Level
from finishline.errors import Status, UserError
from finishline.records import write_atomically
from scoring.runs import Names, Run

_HARDWARE = ("processor", "cores", "memory_bytes", "gpus", "system")


def select(runs: Sequence[Run], submissions: Collection[str]) -> list[Run]:
    """The trials of ``submissions``; all if there are none.

    Raises:
      UserError: a trial does not lie where a submission's would, or a submission has none.
    """
    for run in runs:
        if run.names is None:
            raise UserError(
                f"{run.path} is not in <submission>/study_<k>/<workload>_<framework>/trial_<n>; "
                "move it there, or give another folder."
            )
    found = {_names(run).submission for run in runs}
    for name in submissions:
        if name not in found:
            listed = ", ".join(sorted(found))
            raise UserError(f"There is no submission {name!r} there; there are {listed}.")
    return [run for run in runs if not submissions or _names(run).submission in submissions]


def check_vacant(runs: Sequence[Run], board: Path) -> None:
    """Checks that a board has no entry yet of the submissions of ``runs``.

    Raises:
      UserError: it has one.
    """
    for name in sorted({_names(run).submission for run in runs}):
        if (board / f"{name}.toml").exists():
            raise UserError(
                f"{board / f'{name}.toml'} is there already; replace it with --overwrite, or give "
                "another --leaderboard."
            )


def add(audits: Sequence[Audit], board: Path) -> list[Path]:
    """Writes an entry for each submission of the trials, with copies of their logs.

    An entry that is there is replaced. Nothing is written unless all entries can be made.

    Returns:
      The files of the entries.

    Raises:
      UserError: a trial is not sound or not over, a submission's metadata are not right, or the
        board cannot be written.
    """
    groups: dict[str, list[Audit]] = collections.defaultdict(list)
    for audit in audits:
        groups[_names(audit.run).submission].append(audit)
    entries = [_entry(group) for group in groups.values()]
    try:
        for entry, group in zip(entries, groups.values(), strict=True):
            _copy_logs(group, board / LOGS_FOLDER / entry.submission)
            write_atomically(board / f"{entry.submission}.toml", to_toml(entry).encode())
    except OSError as error:
        raise UserError(
            f"{error.filename or board} cannot be written ({error.strerror}); give another "
            "--leaderboard."
        ) from error
    return [board / f"{entry.submission}.toml" for entry in entries]


def _entry(audits: Sequence[Audit]) -> Entry:
    records = [_checked(audit) for audit in audits]
    first = records[0].start
    info = _metadata(Path(first["submission_path"]))
    ends = [datetime.datetime.fromisoformat((record.end or {})["time"]) for record in records]
    return Entry(
        submission=first["submission"],
        name=str(info["submission_name"]),
        version=str(info["version"]),
        authors=_listed(info["authors"]),
        framework=first["framework"],
        ruleset=first["tuning_ruleset"],
        benchmark_version=first.get("benchmark_version", NEWEST),
        hardware_class=first["hardware"],
        date=max(ends).date(),
        source_hash=first["source_hash"],
        harness_hash=first["harness_hash"],
        logs=f"{LOGS_FOLDER}/{first['submission']}",
        hardware={name: first["machine"][name] for name in _HARDWARE}
        | {"num_devices": first["num_devices"]},
        versions=first["versions"],
        trials=[_trial(audit, record) for audit, record in zip(audits, records, strict=True)],
    )


def _checked(audit: Audit) -> Record:
    """The record of a trial that may have an entry."""
    if audit.record is None or audit.verdict is Verdict.UNSOUND:
        raise UserError(f"{audit.run.path} is not sound; see `python -m finishline.audit` of it.")
    end = audit.record.end
    if end is None or not Status(end["status"]).is_final:
        raise UserError(f"{audit.run.path} is not over; continue it with --resume.")
    if "harness_hash" not in audit.record.start:
        raise UserError(f"{audit.run.path} is of an earlier version; run it again with this one.")
    return audit.record


def _metadata(path: Path) -> dict[str, Any]:
    section, info = check_metadata(Folder.open(path))
    problems = [one for one in section.findings if one.level is Level.PROBLEM]
    if problems:
        place = Folder.open(path).home / INFO_FILE
        raise UserError(
            f"{place} is not right ({problems[0]}); see `python -m finishline.check` of it."
        )
    return dict(info.values)


def _listed(authors: Any) -> str:
    return ", ".join(map(str, authors)) if isinstance(authors, list) else str(authors)


def _trial(audit: Audit, record: Record) -> TrialEntry:
    end = record.end or {}
    hashes = {name: file_hash(audit.run.path / name) for name in LOG_FILES}
    return TrialEntry(
        path=_place(audit.run),
        status=end["status"],
        submission_time=end["submission_time"],
        verdict=audit.verdict.value,
        warnings=sorted({finding.kind for finding in audit.findings}),
        sha256={name: digest for name, digest in hashes.items() if digest is not None},
    )


def _names(run: Run) -> Names:
    assert run.names is not None  # ``select`` has seen to that
    return run.names


def _place(run: Run) -> str:
    names = _names(run)
    return f"study_{names.study}/{names.workload}_{names.framework}/trial_{names.trial}"


def _copy_logs(audits: Sequence[Audit], folder: Path) -> None:
    """Puts the logs into ``folder``, in place of what is there."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    for audit in audits:
        destination = temporary / _place(audit.run)
        destination.mkdir(parents=True)
        for name in LOG_FILES:
            shutil.copyfile(audit.run.path / name, destination / name)
    if folder.exists():
        shutil.rmtree(folder)
    temporary.rename(folder)
