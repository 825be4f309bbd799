"""What the checks find, as lines for people."""

import dataclasses
import enum
from pathlib import Path
from typing import Any

_MAX_VALUE = 80


class Severity(enum.StrEnum):
    """How bad it is: a wrong record, or something that a person should look at."""

    ERROR = "error"
    WARNING = "warning"


# By kind: what is checked.
KINDS = {
    "layout": "trials lie in <submission>/study_<k>/<workload>_<framework>/trial_<n>",
    "files": "the files of a record are all there and can be read",
    "schema": "events.jsonl and meta.json have the fields and types that they must have",
    "chain": "each event carries the hash of the line before, and they are numbered through",
    "order": "a log starts with trial_started; nothing follows the end of a trial",
    "unfinished": "the trial has ended for good",
    "meta": "meta.json and hparams.json say what the event log says",
    "identity": "the record is that of the folder it lies in",
    "view": "eval_measurements.csv and measurements.csv are what the event log makes of them",
    "table": "the tables of a published log have their columns, and numbers in them",
    "time": "times, steps and the accounts of the ledger never decrease",
    "ledger": "the accounts add up to the wall time within 0.5 %, and resumes refund nothing",
    "budget": "no evaluation came after the budget or before the evaluation period had passed",
    "status": "target_reached if and only if an evaluation meets the target",
    "checkpoint": "checkpoints are whole",
    "seeds": "seeds derive from the root seed; trials that must differ share none",
    "duplicate": "no two trials have the same log",
    "source": "a submission's source is the same in all its trials",
    "machine": "machine and number of devices are the same in all trials",
    "versions": "versions of Python and packages are the same in all trials",
    "rules": "target, budget, evaluation period and ruleset of a workload are the same in all",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
      kind: one of ``KINDS``.
      path: the file or folder.
      message: what is wrong, without a full stop.
      remedy: what to do about it, without a full stop.
      line: the line in the file, from 1.
      severity: how bad it is.
    """

    kind: str
    path: Path
    message: str
    remedy: str
    line: int | None = None
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        place = str(self.path) if self.line is None else f"{self.path}:{self.line}"
        return printable(
            f"{self.severity.value}: {place}: {self.message}; {self.remedy}. [{self.kind}]"
        )


def warning(kind: str, path: Path, message: str, remedy: str, line: int | None = None) -> Finding:
    """A finding that need not mean that the record is wrong."""
    return Finding(kind, path, message, remedy, line, Severity.WARNING)


def quoted(value: Any) -> str:
    """A value from a file, made short."""
    text = repr(value)
    return text if len(text) <= _MAX_VALUE else f"{text[: _MAX_VALUE - 3]}..."


def printable(text: str) -> str:
    """One line without control characters or halves of characters."""
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)
