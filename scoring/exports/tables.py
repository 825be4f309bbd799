"""Tidy CSV: one row a measurement."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from finishline.errors import UserError
from scoring.exports.recordings import Recording

FILE = "measurements.csv"
COLUMNS = (
    "submission",
    "workload",
    "framework",
    "study",
    "trial",
    "step",
    "seconds",
    "name",
    "value",
)


class TableExporter:
    """Writes all trials to one table, which is there in whole once the exporter is closed.

    Args:
      output_dir: where the table goes.
    """

    def __init__(self, output_dir: Path):
        self._path = output_dir / FILE
        self._temporary = output_dir / f".{FILE}.tmp"
        self._file: TextIO = open(self._temporary, "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)
        self._competition: str | None = None

    def export(self, recording: Recording, place: Path) -> None:
        """Appends the rows of a trial.

        Raises:
          UserError: the table could not tell it from another.
        """
        run = recording.run
        if run.names is None:
            raise UserError(
                f"{run.path} is not in <submission>/study_<k>/<workload>_<framework>/trial_<n>; "
                "move it there."
            )
        if self._competition not in (None, run.competition):
            raise UserError(
                f"{run.path} is of another competition than those before; export it by itself."
            )
        self._competition = run.competition
        self._writer.writerows(_rows(recording))

    def close(self, *, is_complete: bool) -> None:
        """Puts the table in place, or removes what there is of it."""
        self._file.close()
        if is_complete:
            self._temporary.replace(self._path)
        else:
            self._temporary.unlink()


def _rows(recording: Recording) -> Iterator[tuple[Any, ...]]:
    names = recording.run.names
    assert names is not None
    who = (names.submission, names.workload, names.framework, names.study, names.trial)
    for one in recording.measurements:
        yield (*who, one.step, one.seconds, one.name, one.value)
