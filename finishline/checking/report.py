"""What the checker has to say."""

import dataclasses
import enum
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


class Level(enum.StrEnum):
    """How much a finding weighs. Only problems fail the check."""

    PROBLEM = "problem"  # must be mended before the submission is scored
    NOTE = "note"  # good to know, or to mend
    HINT = "hint"  # for the reviewer, who judges what a program cannot


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
      level: how much it weighs.
      message: one sentence; that of a problem ends with the remedy.
      file: relative to the submission's folder; None if it concerns no file, or the message says
        which.
      line: in that file, from 1.
      details: more lines, such as a traceback, or nothing.
    """

    level: Level
    message: str
    file: str | None = None
    line: int | None = None
    details: str = ""

    @property
    def place(self) -> str:
        """``file:line``, as far as they are known."""
        return ":".join(str(part) for part in (self.file, self.line) if part is not None)

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


def problem(message: object, file: str | None = None, line: int | None = None) -> Finding:
    """A finding that fails the check."""
    return Finding(Level.PROBLEM, str(message), file, line)


def note(message: object, file: str | None = None, line: int | None = None) -> Finding:
    """A finding that is good to know."""
    return Finding(Level.NOTE, str(message), file, line)


@dataclasses.dataclass(frozen=True)
class Section:
    """What was looked at together.

    Attributes:
      name: such as 'metadata'.
      summary: a few words on what is there.
      findings: in the order of the files.
      was_skipped: whether it was not looked at; the summary says why.
    """

    name: str
    summary: str
    findings: tuple[Finding, ...] = ()
    was_skipped: bool = False

    @property
    def has_problems(self) -> bool:
        """Whether one of the findings is a problem."""
        return any(finding.level is Level.PROBLEM for finding in self.findings)


@dataclasses.dataclass(frozen=True)
class Report:
    """The whole of it.

    Attributes:
      folder: the submission's folder.
      sections: in the order in which they were looked at.
    """

    folder: Path
    sections: tuple[Section, ...]

    @property
    def exit_code(self) -> int:
        """0 if there is no problem, else 1."""
        return int(any(section.has_problems for section in self.sections))

    def count(self, level: Level) -> int:
        """How many findings there are of ``level``."""
        return sum(finding.level is level for finding in self._findings())

    def describe(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "folder": str(self.folder),
            "passed": self.exit_code == 0,
            "problems": self.count(Level.PROBLEM),
            "notes": self.count(Level.NOTE),
            "hints": self.count(Level.HINT),
            "sections": [dataclasses.asdict(section) for section in self.sections],
        }

    def _findings(self) -> Iterator[Finding]:
        for section in self.sections:
            yield from section.findings


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings by file and line, and each once."""
    return tuple(sorted(set(findings), key=lambda f: (f.file or "", f.line or 0, f.message)))
