"""Finding the parameters with which a trial met its target."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from finishline.auditing.record import Record
from finishline.checkpoints import Checkpoint
from finishline.clock import Account
from finishline.digests import sha256_of
from finishline.records import CHECKPOINTS_FOLDER, TARGET_SNAPSHOT_FILE, Event
from finishline.worker import SNAPSHOT_FILE
from scoring.checks.findings import Finding, warning

_CHANGED = "the result has no proof any more: restore the file, or run the trial again"
_CLOCK_SEC = 1e-3


@dataclasses.dataclass(frozen=True)
class Proof:
    """A snapshot and the evaluation that it belongs to.

    Attributes:
      path: the file.
      sha256: its hash.
      event: the evaluation.
    """

    path: Path
    sha256: str
    event: Event


def find_proof(record: Record) -> tuple[Proof | None, list[Finding]]:
    """The snapshot of the decisive evaluation, and what is wrong with it."""
    event = record.decisive
    if event is None:
        return None, []
    places = [place for place in _places(record, event) if place.is_file()]
    if not places:
        return None, [_missing(record, event)]
    recorded = event.get("snapshot_sha256")
    hashes = {place: sha256_of(place) for place in places}
    if recorded is None:
        problem = "the log does not have the hash of the snapshot, so another may be in its place"
        finding = warning("snapshot", places[0], problem, "it is of an earlier version")
        return Proof(places[0], hashes[places[0]], event), [finding]
    right = next((place for place in places if hashes[place] == recorded), None)
    wrong = [place for place in places if hashes[place] != recorded]
    findings = [
        Finding("snapshot", place, _other_content(place, hashes, recorded), _CHANGED)
        for place in wrong
    ]
    return (Proof(right, recorded, event) if right else None), findings


def _other_content(place: Path, hashes: dict[Path, str], recorded: str) -> str:
    return (
        f"its SHA-256 is {hashes[place][:12]}..., but the evaluation was of a snapshot with "
        f"{recorded[:12]}..."
    )


def _places(record: Record, event: Event) -> Iterator[Path]:
    if event["target_is_met"]:
        yield record.run.path / TARGET_SNAPSHOT_FILE
    yield record.run.path / CHECKPOINTS_FOLDER / f"step_{event['step']:010d}" / SNAPSHOT_FILE


def _missing(record: Record, event: Event) -> Finding:
    path = record.run.path / TARGET_SNAPSHOT_FILE
    if event["target_is_met"]:
        problem = f"the snapshot of step {event['step']:,}, which met the target, is missing"
        return Finding("snapshot", path, problem, _CHANGED)
    problem = f"no snapshot of the last evaluation, at step {event['step']:,}, was kept"
    remedy = "nothing can be measured again; the target was not reached with it"
    return warning("snapshot", record.run.path / CHECKPOINTS_FOLDER, problem, remedy)


def check_checkpoint_clocks(record: Record) -> Iterator[Finding]:
    """Whether checkpoints have the clock of their evaluations: it stood still in between."""
    by_step = {event["step"]: event for event in record.measured}
    for path in sorted((record.run.path / CHECKPOINTS_FOLDER).glob("step_*")):
        try:
            checkpoint = Checkpoint(path)
            kept = float(checkpoint.meta["ledger"][Account.SUBMISSION.value])
        except (OSError, ValueError, LookupError, TypeError):
            continue  # a damaged checkpoint is found by the checks of the record
        event = by_step.get(checkpoint.step)
        if event is None:
            continue
        told = event["ledger"][Account.SUBMISSION.value]
        if abs(told - kept) > _CLOCK_SEC:
            problem = (
                f"the clock was {kept:.3f} s when it was written, but {told:.3f} s by the "
                f"evaluation of the same step"
            )
            remedy = "one of the two was changed: do not use the result"
            yield Finding("clock", path, problem, remedy)
