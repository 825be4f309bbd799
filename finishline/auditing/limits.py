"""Whether the container of a trial had the limits that it was to have."""

from collections.abc import Iterator

from finishline.auditing.record import Record
from scoring.checks.findings import Finding


def check_limits(record: Record) -> Iterator[Finding]:
    """x."""
    yield from ()
