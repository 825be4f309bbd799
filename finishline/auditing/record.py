"""The record of a trial as an audit needs it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finishline.errors import Status, UserError
from finishline.records import EVENTS_FILE, Event, evaluations
from finishline.submission import SubmissionFile, find_submission
from finishline.workload import WorkloadDefinition, find_workload
from scoring.checks.chain import read_log
from scoring.checks.findings import Severity
from scoring.runs import Run


@dataclasses.dataclass(frozen=True)
class Record:
    """A trial whose log can be read.

    Attributes:
      run: the run directory.
      start: the last ``trial_started``: what ran, and by which rules.
      end: ``trial_ended``, or None if the trial has not.
      measured: the evaluations that count.
      workers: what was recorded of each worker when it started.
    """

    run: Run
    start: Mapping[str, Any]
    end: Mapping[str, Any] | None
    measured: tuple[Event, ...]
    workers: tuple[Event, ...] = ()

    @property
    def log(self) -> Path:
        """The event log."""
        return self.run.path / EVENTS_FILE

    @property
    def framework(self) -> str:
        """'jax' or 'pytorch'."""
        return self.start["framework"]

    @property
    def has_reached_target(self) -> bool:
        """Whether the trial says so."""
        return self.end is not None and self.end["status"] == Status.TARGET_REACHED

    @property
    def decisive(self) -> Event | None:
        """The first evaluation that met the target; without one, the last."""
        met = (event for event in self.measured if event["target_is_met"])
        return next(met, self.measured[-1] if self.measured else None)

    def definition(self) -> WorkloadDefinition:
        """The workload as this checkout has it.

        Raises:
          UserError: it does not have it, or not in the version or hardware class of the trial.
        """
        from finishline.benchmark import NEWEST, definition_for

        version = self.start.get("benchmark_version", NEWEST)
        hardware = self.start.get("hardware")
        return definition_for(find_workload(self.start["workload"]), version, hardware)

    def submission(self) -> SubmissionFile | None:
        """The submission where the trial had it; None if it is not there any more."""
        try:
            return find_submission(self.start["submission_path"], self.framework)
        except UserError:
            return None


def read_record(run: Run) -> Record | None:
    """The record in a run directory; None if it is no whole log that has a start.

    Raises:
      UserError: the log cannot be read.
    """
    try:
        events, findings = read_log(run.path / EVENTS_FILE)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(
            f"{run.path / EVENTS_FILE} cannot be read ({error.strerror}); correct its permissions."
        ) from error
    is_damaged = any(f.kind == "schema" and f.severity is Severity.ERROR for f in findings)
    start = next((e for e in reversed(events) if e["event"] == "trial_started"), None)
    if is_damaged or start is None:
        return None
    end = events[-1] if events[-1]["event"] == "trial_ended" else None
    workers = (e for e in events if e["event"] == "worker" and e["when"] == "started")
    return Record(run, start, end, tuple(evaluations(events)), tuple(workers))
