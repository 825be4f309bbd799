"""The report of an audit: for people, and as JSON."""

import collections
import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

import finishline
from finishline import harness
from finishline.auditing.trial import Audit, Verdict
from scoring.checks.findings import Finding, Severity, printable

_COLOURS = {Verdict.SOUND: "green", Verdict.WARNINGS: "yellow", Verdict.UNSOUND: "red"}


def overall(audits: Sequence[Audit]) -> Verdict:
    """The verdict on all trials together: the worst."""
    return Verdict.of([finding for audit in audits for finding in audit.findings])


def print_report(audits: Sequence[Audit]) -> None:
    """Prints what was found; in colour on a terminal."""
    console = Console(highlight=False, soft_wrap=True)
    for audit in audits:
        verdict = Text(audit.verdict.value, style=f"bold {_COLOURS[audit.verdict]}")
        console.print(Text(f"{printable(str(audit.run.path))}: ").append_text(verdict))
        for name, text in _facts(audit):
            console.print(Text(f"  {name:<12}{text}"))
        for finding in audit.findings:
            style = "red" if finding.severity is Severity.ERROR else "yellow"
            console.print(Text(f"  {finding}", style=style))
    counts = collections.Counter(audit.verdict for audit in audits)
    listed = ", ".join(f"{counts[verdict]:,} {verdict.value}" for verdict in Verdict)
    noun = "trial" if len(audits) == 1 else "trials"
    console.print(Text(f"{len(audits):,} {noun} audited: {listed}.", style="bold"))


def _facts(audit: Audit) -> Iterator[tuple[str, str]]:
    """What was looked at, whatever came out."""
    record = audit.record
    if record is None or record.end is None:
        return
    end = record.end
    yield (
        "result",
        f"{end['status']} after {end['submission_time']:.2f} s and {end['step']:,} steps",
    )
    if audit.proof is not None:
        step = audit.proof.event["step"]
        yield "snapshot", f"{audit.proof.path.name} of step {step:,}, {audit.proof.sha256[:12]}"
    for one in audit.measured:
        key = f"validation/{record.start['target']['metric']}"
        yield (
            "measured",
            f"{key} {one.metrics[key]:.6g} in {one.framework}; {len(one.metrics)} metrics differ "
            f"by at most {one.difference:.1g}",
        )
    if audit.rerun is not None:
        yield "rerun", _rerun_text(audit)


def _rerun_text(audit: Audit) -> str:
    rerun = audit.rerun
    assert rerun is not None
    before, after = rerun.seconds
    met = "target met" if rerun.has_met_target else "target missed"
    text = f"{met} after {after:.2f} s instead of {before:.2f} s"
    if rerun.expected_sec is not None:
        text += f" (expected within {rerun.expected_sec:.2f} s: {rerun.expected_from})"
    else:
        text += f" (no expectation: {rerun.expected_from})"
    if rerun.difference is None:
        return f"{text}; no common evaluations"
    return (
        f"{text}; at common steps ({', '.join(map(str, rerun.steps))}) metrics differ by at most "
        f"{rerun.difference:.1g}"
    )


def to_json(audits: Sequence[Audit]) -> str:
    """The report as indented JSON."""
    content = {
        "verdict": overall(audits).value,
        "finishline": finishline.__version__,
        "harness_hash": harness.source_hash(),
        "trials": [_trial(audit) for audit in audits],
    }
    return json.dumps(content, indent=2) + "\n"


def _trial(audit: Audit) -> dict[str, Any]:
    end = audit.record.end if audit.record else None
    proof, rerun = audit.proof, audit.rerun
    return {
        "path": str(audit.run.path),
        "verdict": audit.verdict.value,
        "status": end and end["status"],
        "submission_time": end and end["submission_time"],
        "snapshot": proof
        and {"path": str(proof.path), "sha256": proof.sha256, "step": proof.event["step"]},
        "measured": [
            {
                "framework": one.framework,
                "largest_difference": one.difference,
                "metrics": dict(one.metrics),
            }
            for one in audit.measured
        ],
        "rerun": rerun
        and {
            "path": str(rerun.path),
            "has_met_target": rerun.has_met_target,
            "common_steps": list(rerun.steps),
            "largest_difference": rerun.difference,
            "submission_times": list(rerun.seconds),
            "expected_difference_sec": rerun.expected_sec,
            "expected_from": rerun.expected_from,
        },
        "findings": [_finding(one) for one in audit.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity.value,
        "kind": finding.kind,
        "path": str(finding.path),
        "line": finding.line,
        "message": finding.message,
        "remedy": finding.remedy,
    }
