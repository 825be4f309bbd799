"""What a trial ran on and with: the harness, packages, the submission's source, its output."""

from collections.abc import Iterator, Mapping
from typing import Any

from finishline.auditing.record import Record
from finishline.output import MAX_OUTPUT_BYTES
from finishline.records import META_FILE
from scoring.checks.findings import Finding, quoted, warning

_LOG_FILE = "worker.log"
_TRACEBACK = b"Traceback (most recent call last)"


def check_surroundings(record: Record, expected: Mapping[str, Any]) -> Iterator[Finding]:
    """Differences from this checkout and its environment, and what the worker printed.

    Args:
      record: the trial.
      expected: what the same trial would record today.
    """
    yield from _harness(record, expected)
    yield from _versions(record, expected)
    yield from _source(record, expected)
    yield from _output(record)


def _harness(record: Record, expected: Mapping[str, Any]) -> Iterator[Finding]:
    path, recorded = record.run.path / META_FILE, record.start.get("harness_hash")
    if recorded is None:
        problem = "it does not say which sources of the harness it was run with"
        yield warning("harness", path, problem, "it is of an earlier version")
    elif recorded != expected["harness_hash"]:
        problem = (
            f"the harness had the source hash {quoted(recorded)}, this checkout has "
            f"{quoted(expected['harness_hash'])}"
        )
        remedy = "audit it with the checkout that ran it, or make sure that nothing here matters"
        yield warning("harness", path, problem, remedy)


def _versions(record: Record, expected: Mapping[str, Any]) -> Iterator[Finding]:
    recorded, here = record.start["versions"], expected["versions"]
    changes = [
        f"{name} {recorded.get(name)} instead of {here.get(name)}"
        for name in {**recorded, **here}
        if recorded.get(name) != here.get(name)
    ]
    if changes:
        problem = f"it ran with {', '.join(changes)}"
        remedy = "scores may differ in the last digits; audit it with the same versions"
        yield warning("versions", record.run.path / META_FILE, problem, remedy)


def _source(record: Record, expected: Mapping[str, Any]) -> Iterator[Finding]:
    path = record.run.path / META_FILE
    if record.submission() is None:
        problem = f"the submission is not in {record.start['submission_path']} any more"
        yield warning("source", path, problem, "audit it where the submission is")
    elif record.start["source_hash"] != expected["source_hash"]:
        problem = (
            f"the submission had the source hash {quoted(record.start['source_hash'])}, "
            f"{record.start['submission_path']} has {quoted(expected['source_hash'])}"
        )
        remedy = "it was changed after the trial: audit it with the source that ran"
        yield warning("source", path, problem, remedy)


def _output(record: Record) -> Iterator[Finding]:
    path = record.run.path / _LOG_FILE
    if not path.is_file():
        yield warning("output", path, "it is missing", "restore it: it has what the worker printed")
        return
    content = path.read_bytes()
    if len(content) >= MAX_OUTPUT_BYTES:
        problem = f"the worker printed {len(content):,} bytes, which is the limit"
        yield warning("output", path, problem, "look for what it hides")
    if record.has_reached_target and _TRACEBACK in content:
        line = content[: content.index(_TRACEBACK)].count(b"\n") + 1
        problem = "the worker printed a traceback, but the trial went on"
        yield warning("output", path, problem, "look what failed in it", line)
