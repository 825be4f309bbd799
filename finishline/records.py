"""The record of a trial: an append-only event log, and the views that are derived from it.

``events.jsonl`` holds one JSON object a line; each has the SHA-256 of the line before, so that a
changed or missing line shows. ``eval_measurements.csv`` and ``measurements.csv`` have AlgoPerf's
column names and can be made again from the log at any time. ``meta.json`` says what ran where and
how it ended.
"""

import contextlib
import csv
import datetime
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from finishline.errors import InfrastructureError, UserError

EVENTS_FILE = "events.jsonl"
META_FILE = "meta.json"
EVALS_FILE = "eval_measurements.csv"
MEASUREMENTS_FILE = "measurements.csv"
HPARAMS_FILE = "hparams.json"
CHECKPOINTS_FOLDER = "checkpoints"
TARGET_SNAPSHOT_FILE = "target_snapshot.safetensors"
# What the log adds to each event.
LOG_FIELDS = ("index", "time", "event", "previous")
_FIRST_HASH = "0" * 64

Event = dict[str, Any]


@contextlib.contextmanager
def _replacing(path: Path, mode: str, **options: Any) -> Iterator[IO[Any]]:
    """A file that takes the place of ``path`` in the end; if it fails, nothing is left of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, mode, **options) as file:
            yield file
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Writes ``path`` so that at any moment it has the old content or the new one, on the disk.

    Raises:
      OSError: the disk is full or cannot be written; what there was stays, and nothing is added.
    """
    with _replacing(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Writes ``content`` as indented JSON, atomically."""
    write_atomically(path, (json.dumps(content, indent=2, default=str) + "\n").encode())


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None if there is none or it is damaged."""
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_bytes())
    return None


class EventLog:
    """An append-only, hash-chained log. A torn last line, left by a kill, is cut off.

    Attributes:
      torn_bytes: how many bytes were cut off when the log was opened.

    Raises:
      InfrastructureError: a line before the last does not continue the chain.
    """

    def __init__(self, path: Path):
        self._path = path
        self._lines: list[bytes] = []
        self._last_hash = _FIRST_HASH
        self.torn_bytes = 0
        if path.exists():
            self._recover()
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - it stays open

    def _recover(self) -> None:
        valid_bytes = 0
        for line, _ in read_events(self._path):
            self._lines.append(line)
            self._last_hash = hashlib.sha256(line).hexdigest()
            valid_bytes += len(line)
        self.torn_bytes = self._path.stat().st_size - valid_bytes
        if self.torn_bytes:
            os.truncate(self._path, valid_bytes)

    def append(self, kind: str, **content: Any) -> None:
        """Adds one event; it is on the disk when this returns.

        Raises:
          InfrastructureError: the disk is full or cannot be written.
        """
        event = {
            "index": len(self._lines),
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "event": kind,
            **content,
            "previous": self._last_hash,
        }
        line = (json.dumps(event, default=str) + "\n").encode()
        size = self._file.tell()
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(28, "no space left on device")
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(size)  # or the next line would continue half a line
            raise InfrastructureError(
                f"{self._path} cannot be written: {error.strerror}."
            ) from error
        self._lines.append(line)
        self._last_hash = hashlib.sha256(line).hexdigest()

    def restore(self) -> bool:
        """Puts back what this process wrote, if the file has anything else; whether it had."""
        content = b"".join(self._lines)
        with contextlib.suppress(OSError):
            if self._path.read_bytes() == content:
                return False
        write_atomically(self._path, content)
        self._file.close()
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115 - it stays open
        return True

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_events(path: Path) -> Iterator[tuple[bytes, Event]]:
    """The lines of a log with their events; ends before a torn last line.

    Raises:
      InfrastructureError: a line does not carry the hash of the one before.
    """
    previous = _FIRST_HASH
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                event = json.loads(line)
                is_next = event["previous"] == previous
            except (ValueError, KeyError, TypeError):
                is_next = False
            if not is_next:
                raise InfrastructureError(
                    f"{path}:{number} does not continue the log: the file was changed or damaged."
                )
            previous = hashlib.sha256(line).hexdigest()
            yield line, event


def measurements(events: Iterable[Event]) -> list[Event]:
    """The evaluations and scalars that count.

    Those that came after the checkpoint that a resume went back to are measured again.
    """
    kept: list[Event] = []
    for event in events:
        if event["event"] in ("evaluation", "scalars"):
            kept.append(event)
        elif event["event"] == "resumed":
            kept = _until(kept, event["step"])
    return kept


def _until(measured: list[Event], step: int) -> list[Event]:
    """What was measured before the checkpoint of ``step`` was written; 0 is the start."""
    if step == 0:
        return []
    for index, event in enumerate(measured):
        if event["event"] == "evaluation" and event["step"] >= step:
            return measured[: index + (event["step"] == step)]
    return measured  # the kill came between the checkpoint and its evaluation


def attempt(events: Sequence[Event]) -> Sequence[Event]:
    """The events since the trial began, or began anew after an attempt that was discarded."""
    ends = [index for index, event in enumerate(events) if event.get("discarded")]
    return events[ends[-1] + 1 :] if ends else events


def evaluations(events: Iterable[Event]) -> list[Event]:
    """The evaluations that count."""
    return [event for event in measurements(events) if event["event"] == "evaluation"]


class RunDirectory:
    """The folder of one trial, held by one process at a time.

    Args:
      path: the folder; made if it is not there.
      resume: whether to continue what is there.
      overwrite: whether to delete what is there.

    Raises:
      UserError: the folder cannot be written, is in use, or holds a trial that is neither to be
        continued nor to be overwritten.
    """

    def __init__(self, path: Path, *, resume: bool = False, overwrite: bool = False):
        self.path = path
        check_writable(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error
        self._lock = self._take_lock()
        if overwrite:
            self._clear()
        if not resume:
            check_vacant(path)
        self.log = EventLog(path / EVENTS_FILE)
        self.events = [event for _, event in read_events(path / EVENTS_FILE)]

    def _take_lock(self) -> Any:
        lock = open(self.path / ".lock", "w")  # noqa: SIM115 - held as long as this object
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{self.path} is in use by another process; wait for it or give another "
                "--experiment_name."
            ) from error
        return lock

    def _clear(self) -> None:
        # The log goes last: as long as anything else is there, the folder holds a trial.
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name == EVENTS_FILE):
            if entry.name == ".lock":
                continue
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints are."""
        return self.path / CHECKPOINTS_FOLDER

    def record(self, kind: str, **content: Any) -> None:
        """Appends an event to the log."""
        self.log.append(kind, **content)
        self.events.append({"event": kind, **content})

    def evaluations(self) -> list[Event]:
        """The evaluations so far that count."""
        return evaluations(self.events)

    def keep_snapshot(self, content: bytes) -> None:
        """Keeps the parameters that have met the target, for who measures them again.

        Raises:
          OSError: the disk is full or cannot be written.
        """
        write_atomically(self.path / TARGET_SNAPSHOT_FILE, content)

    def write_eval_view(self) -> None:
        """Writes ``eval_measurements.csv`` from the events."""
        write_csv(self.path / EVALS_FILE, [eval_row(event) for event in self.evaluations()])

    def write_measurements_view(self) -> None:
        """Writes ``measurements.csv``: the submission's scalars and the evaluations, by step."""
        rows = [eval_row(event) for event in self.evaluations()]
        for event in measurements(self.events):
            if event["event"] == "scalars":
                rows += [{"global_step": step, **values} for step, values in event["rows"]]
        rows.sort(key=lambda row: row["global_step"])
        write_csv(self.path / MEASUREMENTS_FILE, rows)

    def close(self) -> None:
        """Lets other processes have the folder."""
        self.log.close()
        self._lock.close()


def eval_row(event: Event) -> dict[str, Any]:
    """One row of ``eval_measurements.csv``; times in seconds."""
    ledger = event["ledger"]
    return {
        "accumulated_eval_time": ledger["evaluation"],
        "accumulated_logging_time": ledger["record_keeping"],
        "accumulated_submission_time": ledger["submission"],
        "global_step": event["step"],
        "preemption_count": event["resumes"],
        "score": ledger["submission"],
        "total_duration": sum(ledger.values()),
        **event["metrics"],
    }


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes ``rows`` with the union of their columns, atomically."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with _replacing(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def check_vacant(path: Path) -> None:
    """Checks that the folder ``path`` holds no trial.

    Raises:
      UserError: it does.
    """
    if (path / EVENTS_FILE).exists():
        raise UserError(
            f"{path} holds a trial already; continue it with --resume, delete it with "
            "--overwrite, or give another --experiment_name."
        )


def check_writable(path: Path) -> None:
    """Checks that the folder ``path`` can be made and files written there. Nothing is left of it.

    Raises:
      UserError: it cannot be made or written.
    """
    try:
        present = next(folder for folder in (path, *path.parents) if folder.exists())
        with tempfile.TemporaryFile(dir=present) as probe:
            probe.write(b"\0" * 65536)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UserError:
    return UserError(
        f"The directory {path} cannot be written ({error.strerror}); free space there or give "
        "another --experiment_dir."
    )
