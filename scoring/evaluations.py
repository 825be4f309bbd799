"""Parsing ``eval_measurements.csv``: columns are found by name, rows are as in the file."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence

import numpy as np

TIME_COLUMN = "accumulated_submission_time"
# After the time and the metric; those that a log lacks are NaN.
_OPTIONAL_COLUMNS = (
    "global_step",
    "total_duration",
    "accumulated_eval_time",
    "accumulated_logging_time",
    "preemption_count",
    "score",
)
NUM_COLUMNS = 2 + len(_OPTIONAL_COLUMNS)
_MAX_REASON = 200  # characters of a cell or an error that a message repeats


class LogError(Exception):
    """A log cannot be used; the message is the reason, to follow the file's name."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Evaluations:
    """The evaluations of a trial, in the order of the file; arrays of shape (evaluations,).

    Attributes:
      time: seconds of submission time, finite and never decreasing.
      value: the target metric on the validation data; NaN for an empty cell.
      step: training steps; like the following, NaN where the log has no number.
      total: seconds since the start, with evaluations and record keeping.
      eval_time: seconds of evaluations.
      logging_time: seconds of record keeping.
      resumes: how often the trial was resumed.
      score: the time that AlgoPerf scores; in all published logs it is ``time``.
    """

    time: np.ndarray
    value: np.ndarray
    step: np.ndarray
    total: np.ndarray
    eval_time: np.ndarray
    logging_time: np.ndarray
    resumes: np.ndarray
    score: np.ndarray

    @classmethod
    def from_table(cls, table: np.ndarray) -> "Evaluations":
        """From an array of shape (columns, evaluations), as ``parse_table`` returns it."""
        return cls(*table)

    def __len__(self) -> int:
        return len(self.time)


def parse_table(data: bytes, metric: str) -> np.ndarray:
    """Parses the bytes of a log.

    Args:
      data: the content of the file.
      metric: the name of the metric, without ``validation/``.

    Returns:
      The fields of ``Evaluations``, shape (columns, evaluations).

    Raises:
      LogError: the log is damaged; the whole of it is then worth nothing.
    """
    names = (TIME_COLUMN, f"validation/{metric}", *_OPTIONAL_COLUMNS)
    table = _parse_plain(data, names)
    # The plain way takes a tenth of the time and leaves all that is unusual to the other.
    return _parse_thoroughly(data, names) if table is None else table


def _parse_plain(data: bytes, names: Sequence[str]) -> np.ndarray | None:
    """Parses a log with neither quotes nor blank lines nor faults; None for any other."""
    header, _, body = data.partition(b"\n")
    columns = header.split(b",")
    if b'"' in data or b"\r" in data or b"_" in body or b"\0" in body or not body:
        return None
    if any(columns.count(name.encode()) != 1 for name in names):
        return None
    if not body.endswith(b"\n"):
        body += b"\n"
    # With a cell for each end of line, rows of another length put those cells out of step.
    num_rows, width = body.count(b"\n"), len(columns) + 1
    cells = body.replace(b"\n", b",\n,").split(b",")
    if len(cells) != num_rows * width + 1 or cells[width - 1 :: width].count(b"\n") != num_rows:
        return None
    end = num_rows * width
    table = np.empty((len(names), num_rows))
    time_cells = cells[columns.index(TIME_COLUMN.encode()) : end : width]
    try:
        for row, name in zip(table, names, strict=True):
            own = cells[columns.index(name.encode()) : end : width]
            # In most logs the score is the time and nothing was resumed.
            if own == time_cells and name != TIME_COLUMN:
                row[:] = table[0]
            elif own.count(b"0") == num_rows:
                row[:] = 0.0
            else:
                row[:] = np.fromiter(map(float, own), float, num_rows)
    except ValueError:
        return None
    time = table[0]
    is_sound = time[0] >= 0.0 and time[-1] < math.inf and bool(np.all(time[1:] >= time[:-1]))
    return table if is_sound else None


def _parse_thoroughly(data: bytes, names: Sequence[str]) -> np.ndarray:
    """Parses any log, cell by cell, or says what is wrong with it."""
    try:
        text = data.decode()
        rows = list(filter(None, csv.reader(io.StringIO(text, newline=""))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LogError(f"cannot be read ({one_line(error)})") from error
    if not rows:
        raise LogError("is empty")
    header = rows.pop(0)
    for name in names[:2]:
        if header.count(name) != 1:
            raise LogError(f"has {header.count(name)} columns {name!r} instead of one")
    indices = [header.index(name) if header.count(name) == 1 else None for name in names]
    table = np.full((len(names), len(rows)), math.nan)
    latest = 0.0
    for number, row in enumerate(rows):
        if len(row) != len(header):
            cells = f"{len(row)} cells in row {number + 1}"
            raise LogError(f"has {cells} and {len(header)} in its header")
        for field, index in enumerate(indices):
            if index is not None:
                table[field, number] = _number(row[index], field, number + 1)
        time = table[0, number]
        if not latest <= time < math.inf:
            raise LogError(f"goes from {latest} s to {time} s in row {number + 1}")
        latest = time
    return table


def _number(cell: str, field: int, row: int) -> float:
    try:
        if "_" in cell:  # Python takes 1_0 for a number
            raise ValueError(f"could not convert string to float: {cell[:_MAX_REASON]!r}")
        return float(cell) if cell or field == 0 else math.nan
    except ValueError as error:
        if field > 1:
            return math.nan
        raise LogError(f"has no number in row {row} ({one_line(error)})") from error


def one_line(error: Exception, path: str | None = None) -> str:
    """An error in one line of reasonable length; ``path`` is left out of an ``OSError``'s."""
    if path is not None and isinstance(error, OSError):
        return error.strerror or type(error).__name__
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= _MAX_REASON else f"{text[:_MAX_REASON]}…"
