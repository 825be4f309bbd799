"""All checks of one run directory."""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from finishline.checkpoints import MANIFEST_FILE, Checkpoint
from finishline.errors import Status
from finishline.records import (
    CHECKPOINTS_FOLDER,
    EVALS_FILE,
    EVENTS_FILE,
    HPARAMS_FILE,
    META_FILE,
    Event,
    evaluations,
)
from finishline.seeds import TrialSeeds
from scoring.checks.chain import read_log
from scoring.checks.clock import check_clock, check_status
from scoring.checks.findings import Finding, Severity, quoted, warning
from scoring.checks.published import check_published
from scoring.checks.schema import END, LOG_FIELDS, RUNNING, START, mismatch
from scoring.checks.views import check_views
from scoring.runs import Names, Run

_AGAIN = "restore the file, or run the trial again with --overwrite"
_WRITTEN_AGAIN = "delete it and run the same command with --resume, which writes it again"


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What the checks across trials need of one.

    Attributes:
      run: the trial.
      start: what it ran with, from ``meta.json`` or the log; None for a published log.
      digest: a hash that is equal for equal evaluations; None if there are none.
    """

    run: Run
    start: Mapping[str, Any] | None
    digest: str | None

    @property
    def is_published(self) -> bool:
        """Whether there is no record of ours."""
        return self.start is None


def check_trial(run: Run, *, read_checkpoints: bool = True) -> tuple[list[Finding], Facts]:
    """What is wrong with one run directory by itself."""
    findings: list[Finding] = []
    facts = Facts(run, None, None)
    try:
        if run.names is None:
            findings.append(_misplaced(run))
        if _has_record(run.path):
            facts = _check_record(run, findings, read_checkpoints=read_checkpoints)
        else:
            found, digest = check_published(run.path)
            findings += found
            facts = Facts(run, None, digest)
    except OSError as error:
        path = Path(error.filename or run.path)
        problem = f"it cannot be read ({error.strerror})"
        findings.append(Finding("files", path, problem, "correct its permissions, or restore it"))
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        problem = f"it cannot be checked ({type(error).__name__}: {quoted(str(error))})"
        findings.append(Finding("schema", run.path, problem, _AGAIN))
    return findings, facts


def _misplaced(run: Run) -> Finding:
    return warning(
        "layout",
        run.path,
        "scoring does not count it: it is not in "
        "<submission>/study_<k>/<workload>_<framework>/trial_<n>",
        "move it there, or delete it",
    )


def _has_record(folder: Path) -> bool:
    for name in (EVENTS_FILE, META_FILE, EVALS_FILE):
        path = folder / name
        if path.exists() and not path.is_file():
            raise OSError(0, "it is no file", str(path))
    return (folder / EVENTS_FILE).exists() or (folder / META_FILE).exists()


def _check_record(run: Run, findings: list[Finding], *, read_checkpoints: bool) -> Facts:
    log = run.path / EVENTS_FILE
    meta = _read_object(run.path / META_FILE, findings)
    events: list[Event] = []
    if log.exists():
        events, found = read_log(log)
        findings += found
    else:
        findings.append(Finding("files", log, "it is missing", _AGAIN))
    start = next((e for e in reversed(events) if e["event"] == "trial_started"), None)
    is_whole = not any(f.kind == "schema" and f.severity is Severity.ERROR for f in findings)
    if is_whole and start is not None:
        findings += _semantic_findings(run, events, start, meta)
    elif is_whole and events:
        findings.append(Finding("order", log, "it has no event trial_started", _AGAIN))
    findings += _meta_schema_findings(run.path / META_FILE, meta)
    findings += _checkpoint_findings(run.path / CHECKPOINTS_FOLDER, read_all=read_checkpoints)
    known = start or (meta if meta and not mismatch(meta, START) else None)
    if known is not None:
        findings += _identity_findings(run, known)
        findings += _seed_findings(run.path / META_FILE, known)
    return Facts(run, known or {}, _digest(events))


def _digest(events: Sequence[Event]) -> str | None:
    measured = [[e["step"], e["ledger"], e["metrics"]] for e in evaluations(events)]
    return hashlib.sha256(json.dumps(measured).encode()).hexdigest() if measured else None


def _read_object(path: Path, findings: list[Finding]) -> dict[str, Any] | None:
    """The content of a JSON file of a record; None with a finding if there is none."""
    if not path.exists():
        findings.append(Finding("files", path, "it is missing", _WRITTEN_AGAIN))
        return None
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        problem = f"it is no JSON ({quoted(str(error))})"
        findings.append(Finding("files", path, problem, _WRITTEN_AGAIN))
        return None
    if not isinstance(content, dict):
        problem = f"it is {quoted(content)} instead of an object"
        findings.append(Finding("files", path, problem, _WRITTEN_AGAIN))
        return None
    return content


def _meta_schema_findings(path: Path, meta: dict[str, Any] | None) -> Iterator[Finding]:
    if meta is None:
        return
    is_running = meta.get("status") == "running"
    wrong = mismatch(meta, START) or mismatch(meta, RUNNING if is_running else END)
    if wrong:
        yield Finding("schema", path, wrong, _WRITTEN_AGAIN)


def _semantic_findings(
    run: Run, events: Sequence[Event], start: Event, meta: dict[str, Any] | None
) -> Iterator[Finding]:
    log = run.path / EVENTS_FILE
    end = events[-1] if events[-1]["event"] == "trial_ended" else None
    yield from _order_findings(log, events)
    yield from _end_findings(log, end)
    if meta is not None:
        yield from _meta_findings(run.path / META_FILE, meta, start, end)
    found: list[Finding] = []
    hparams = _read_object(run.path / HPARAMS_FILE, found)
    yield from found
    if hparams is not None and hparams != (start["hyperparameters"] or {}):
        problem = f"it has {quoted(hparams)}, but the event log {quoted(start['hyperparameters'])}"
        yield Finding("meta", run.path / HPARAMS_FILE, problem, "put there what the log says")
    yield from check_clock(log, events, start)
    yield from check_status(log, events, start)
    yield from check_views(run.path, events, has_ended=end is not None)


def _order_findings(log: Path, events: Sequence[Event]) -> Iterator[Finding]:
    remedy = "it was changed after it was written: restore it, or run the trial again"
    if events[0]["event"] != "trial_started":
        problem = f"its first event is {events[0]['event']} instead of trial_started"
        yield Finding("order", log, problem, remedy, 1)
    resumes = 0
    for before, event in itertools.pairwise(events):
        line = event["index"] + 1
        if before["event"] == "trial_ended" and _is_final(before["status"]):
            problem = f"the event {event['event']} follows the end of the trial"
            yield Finding("order", log, problem, remedy, line)
            return
        resumes += event["event"] == "resumed"
        if event.get("resumes", resumes) != resumes:
            problem = f"resumes is {event['resumes']} after {resumes} events resumed"
            yield Finding("order", log, problem, remedy, line)
            return


def _is_final(status: str) -> bool:
    return status in set(Status) and Status(status).is_final


def _end_findings(log: Path, end: Event | None) -> Iterator[Finding]:
    remedy = "continue it with --resume if it is not running; until then it counts as missed"
    if end is None:
        yield warning("unfinished", log, "the trial has not ended", remedy)
    elif end["status"] in set(Status) and not Status(end["status"]).is_final:
        problem = f"the trial has ended with {end['status']}"
        yield warning("unfinished", log, problem, remedy, end["index"] + 1)


def _meta_findings(
    path: Path, meta: dict[str, Any], start: Event, end: Event | None
) -> Iterator[Finding]:
    told = start | end if end else start | {"status": "running"}
    for name, value in told.items():
        if name not in LOG_FIELDS and name in meta and meta[name] != value:
            problem = f"{name} is {quoted(meta[name])}, but {quoted(value)} by the event log"
            yield Finding("meta", path, problem, _WRITTEN_AGAIN)


def _identity_findings(run: Run, start: Mapping[str, Any]) -> Iterator[Finding]:
    if run.names is None:
        return
    fields = [field.name for field in dataclasses.fields(Names)]
    for name in fields:
        if start[name] != getattr(run.names, name):
            problem = f"it is the record of {name} {quoted(start[name])}"
            remedy = "the folder was copied or renamed: give it its name back, or delete it"
            yield Finding("identity", run.path, problem, remedy)
            return


def _seed_findings(path: Path, start: Mapping[str, Any]) -> Iterator[Finding]:
    seeds = TrialSeeds.derive(
        start["root_seed"],
        start["submission"],
        start["workload"],
        start["study"],
        start["trial"],
    )
    wrong = [
        name for name, seed in dataclasses.asdict(seeds).items() if start["seeds"][name] != seed
    ]
    if wrong:
        problem = (
            f"the seeds {', '.join(wrong)} do not derive from root_seed {start['root_seed']} and "
            "the trial's names"
        )
        yield Finding("seeds", path, problem, "run the trial again with --overwrite")


def _checkpoint_findings(folder: Path, *, read_all: bool) -> Iterator[Finding]:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".tmp_"):
            remedy = "delete it; --resume does so by itself"
            yield warning("checkpoint", path, "it is half written", remedy)
        elif path.is_dir() and (problem := _checkpoint_problem(path, read_all=read_all)):
            remedy = "delete it: --resume goes on from the one before"
            yield Finding("checkpoint", path, f"it cannot be used ({problem})", remedy)


def _checkpoint_problem(path: Path, *, read_all: bool) -> str | None:
    try:
        if read_all:
            step = Checkpoint(path).step
        else:
            body = json.loads(json.loads((path / MANIFEST_FILE).read_bytes())["body"])
            missing = [name for name in body["files"] if not (path / name).is_file()]
            if missing:
                return f"{missing[0]} is missing"
            step = body["step"]
    except OSError as error:
        return f"{Path(error.filename or path).name}: {error.strerror}"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return quoted(str(error))
    if path.name != f"step_{step:010d}":
        return f"it is of step {step:,}"
    return None
