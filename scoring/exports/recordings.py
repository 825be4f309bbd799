"""What was measured in a trial, from its event log or from AlgoPerf's tables."""

import csv
import dataclasses
import datetime
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from finishline.clock import Account
from finishline.errors import InfrastructureError, UserError
from finishline.records import (
    EVALS_FILE,
    EVENTS_FILE,
    HPARAMS_FILE,
    MEASUREMENTS_FILE,
    Event,
    measurements,
    read_events,
    read_json,
)
from scoring.runs import Run

_STEP = "global_step"
_TIME = "accumulated_submission_time"
_CLOCK_COLUMNS = {
    _TIME: f"clock/{Account.SUBMISSION.value}",
    "accumulated_eval_time": f"clock/{Account.EVALUATION.value}",
    "accumulated_logging_time": f"clock/{Account.RECORD_KEEPING.value}",
}
_LEFT_OUT = {_STEP, "score", "preemption_count", "total_duration"}


@dataclasses.dataclass(frozen=True, slots=True)
class Measurement:
    """One number that was measured.

    Attributes:
      step: training steps done.
      seconds: submission time; None for scalars that the submission logged, whose time is unknown.
      name: the metric, such as ``validation/accuracy`` or ``clock/evaluation``.
      value: what was measured.
    """

    step: int
    seconds: float | None
    name: str
    value: float


@dataclasses.dataclass(frozen=True)
class Recording:
    """One trial.

    Attributes:
      run: where it is.
      start: Unix time of the start; 0 if it is unknown.
      config: what it ran with, as in ``meta.json``; of a published log the hyperparameters alone.
      measurements: by step.
    """

    run: Run
    start: float
    config: Mapping[str, Any]
    measurements: list[Measurement]


def read_recording(run: Run) -> Recording:
    """Reads a trial.

    Raises:
      UserError: the log is damaged; one sentence says where.
    """
    log = run.path / EVENTS_FILE
    try:
        if log.is_file():
            return _from_events(run, [event for _, event in read_events(log)])
        return _from_tables(run)
    except (InfrastructureError, OSError) as error:
        sentence = f"{str(error).removesuffix('.')}; see python -m scoring.check_logs {run.path}."
        raise UserError(sentence) from error
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UserError(
            f"The log in {run.path} is damaged ({type(error).__name__}: {error}); see "
            f"python -m scoring.check_logs {run.path}."
        ) from error


def _from_events(run: Run, events: list[Event]) -> Recording:
    starts = [event for event in events if event["event"] == "trial_started"]
    config: dict[str, Any] = dict(starts[-1]) if starts else {}
    for name in ("index", "time", "event", "previous"):
        config.pop(name, None)
    if events and events[-1]["event"] == "trial_ended":
        config["status"] = events[-1]["status"]
    start = datetime.datetime.fromisoformat(starts[0]["time"]).timestamp() if starts else 0.0
    found = [m for event in measurements(events) for m in _of_event(event)]
    return Recording(run, start, config, _by_step(found))


def _of_event(event: Event) -> Iterator[Measurement]:
    if event["event"] == "scalars":
        for step, values in event["rows"]:
            for name, value in values.items():
                yield Measurement(int(step), None, name, float(value))
        return
    seconds = float(event["ledger"][Account.SUBMISSION.value])
    clock = {f"clock/{name}": value for name, value in event["ledger"].items()}
    for name, value in (event["metrics"] | clock).items():
        yield Measurement(int(event["step"]), seconds, name, float(value))


def _from_tables(run: Run) -> Recording:
    found = list(_of_table(run.path / EVALS_FILE, are_evaluations=True))
    found += _of_table(run.path / MEASUREMENTS_FILE, are_evaluations=False)
    hyperparameters = read_json(run.path / HPARAMS_FILE)
    return Recording(run, 0.0, {"hyperparameters": hyperparameters}, _by_step(found))


def _of_table(path: Path, *, are_evaluations: bool) -> Iterator[Measurement]:
    """Evaluations, or what else is in ``measurements.csv``, which has the evaluations, too."""
    if not path.is_file():
        return
    for row in _rows(path):
        if bool(row.get(_TIME)) is not are_evaluations:
            continue
        step = int(float(row[_STEP]))
        seconds = float(row[_TIME]) if are_evaluations else None
        for name, cell in row.items():
            if cell and name not in _LEFT_OUT:
                yield Measurement(step, seconds, _CLOCK_COLUMNS.get(name, name), float(cell))


def _rows(path: Path) -> Iterable[dict[str, str]]:
    text = path.read_bytes().decode("utf-8-sig")
    try:
        yield from csv.DictReader(io.StringIO(text, newline=""))
    except csv.Error as error:
        raise ValueError(f"{path.name}: {error}") from error


def _by_step(found: list[Measurement]) -> list[Measurement]:
    return sorted(found, key=lambda measurement: measurement.step)
