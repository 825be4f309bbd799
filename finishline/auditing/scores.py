"""Measuring a snapshot again, and comparing with what was recorded."""

import dataclasses
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finishline.auditing.process import run_module
from finishline.auditing.record import Record
from finishline.auditing.snapshot import Proof
from finishline.benchmark import NEWEST
from finishline.errors import UserError
from finishline.workload import target_is_met
from scoring.checks.findings import Finding

_MAX_TOLD = 3


@dataclasses.dataclass(frozen=True)
class Remeasured:
    """A snapshot measured again.

    Attributes:
      framework: the framework it was measured in.
      metrics: what was measured.
      difference: the largest relative difference from the recorded metrics.
    """

    framework: str
    metrics: Mapping[str, float]
    difference: float


def remeasure(
    record: Record, proof: Proof, framework: str, data_dir: Path
) -> dict[str, float] | Finding:
    """The metrics of a snapshot, from a fresh process with the reference code.

    Args:
      record: the trial.
      proof: its snapshot.
      framework: the framework to measure in.
      data_dir: where the data sets are.

    Raises:
      UserError: the data are not there, or the process has failed.
    """
    request = {
        "workload": record.start["workload"],
        "benchmark_version": record.start.get("benchmark_version", NEWEST),
        "hardware": record.start.get("hardware"),
        "snapshot": str(proof.path.absolute()),
        "snapshot_framework": record.framework,
        "framework": framework,
        "data_dir": str(data_dir.absolute()),
        "num_devices": record.start["num_devices"],
    }
    with tempfile.TemporaryDirectory(prefix="finishline-audit-") as name:
        source, destination = Path(name, "request.json"), Path(name, "metrics.json")
        source.write_text(json.dumps(request))
        process = run_module("finishline.auditing.measure", [str(source), str(destination)])
        if process.returncode or not destination.exists():
            raise UserError(
                f"{proof.path} could not be measured again: the process ended with code "
                f"{process.returncode}; its last output: {process.stdout[-500:]}"
            )
        result: dict[str, Any] = json.loads(destination.read_text())
    if "bad_input" in result:
        raise UserError(result["bad_input"])
    if "wrong_snapshot" in result:
        problem = f"it cannot be measured: {result['wrong_snapshot'].removesuffix('.')}"
        return Finding("scores", proof.path, problem, "do not use the result")
    return result


def compare(
    record: Record, proof: Proof, metrics: Mapping[str, float], *, kind: str, tolerance: float
) -> Iterator[Finding]:
    """Metrics that differ from the recorded ones, and a target that is met no more."""
    event = proof.event
    line = event["index"] + 1
    told = event["metrics"]
    changed = [
        f"{name} is {told.get(name, math.nan):.6g}, but measures {metrics.get(name, math.nan):.6g}"
        for name in {**told, **metrics}
        if not difference(told.get(name), metrics.get(name)) <= tolerance
    ]
    if changed:
        more = f" and {len(changed) - _MAX_TOLD} more" if len(changed) > _MAX_TOLD else ""
        problem = f"{'; '.join(changed[:_MAX_TOLD])}{more} (relative tolerance {tolerance:g})"
        remedy = "the log or the snapshot was changed: do not use the result"
        yield Finding(kind, record.log, problem, remedy, line)
    target = record.start["target"]
    key, wanted = f"validation/{target['metric']}", target["validation"]
    is_met = target_is_met(metrics[key], wanted, minimize=target["minimize"])
    if event["target_is_met"] and not is_met and kind == "scores":
        problem = f"{key} measures {metrics[key]:.6g}, which does not meet the target {wanted:g}"
        yield Finding(kind, record.log, problem, "the trial has not reached its target", line)


def largest_difference(told: Mapping[str, float], metrics: Mapping[str, float]) -> float:
    """The largest relative difference of two sets of metrics."""
    names = {**told, **metrics}
    return max((difference(told.get(name), metrics.get(name)) for name in names), default=0.0)


def difference(told: float | None, found: float | None) -> float:
    """The relative difference of two values; equal ones, also NaN, have none."""
    if told is None or found is None:
        return math.inf
    if told == found or (math.isnan(told) and math.isnan(found)):
        return 0.0
    gap = abs(told - found) / max(abs(told), abs(found))
    return gap if math.isfinite(gap) else math.inf
