"""The audit of one trial, and of several."""

import dataclasses
import enum
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from finishline.auditing.limits import check_limits
from finishline.auditing.record import Record, read_record
from finishline.auditing.rerun import Rerun, check_rerun, compare_runs, repeat
from finishline.auditing.rules import check_hyperparameters, check_rules, expected_start
from finishline.auditing.scores import Remeasured, compare, largest_difference, remeasure
from finishline.auditing.snapshot import Proof, check_checkpoint_clocks, find_proof
from finishline.auditing.surroundings import check_surroundings
from finishline.errors import UserError
from finishline.frameworks import FRAMEWORKS
from finishline.records import META_FILE
from scoring.checks.across import check_across
from scoring.checks.findings import Finding, Severity, warning
from scoring.checks.trial import check_trial
from scoring.progress import track
from scoring.runs import Run

# By kind: what is checked beyond ``scoring.check_logs``.
KINDS = {
    "snapshot": "the snapshot that met the target is there and has the hash that the log tells",
    "scores": "measured again, it has the scores that the log tells, and meets the target",
    "cross": "with --cross_framework, the other framework's model gives it the same scores",
    "target": "the target is this project's",
    "rules": "budget, evaluation period, model and quirks are this project's",
    "hyperparameters": "they are those that are drawn from the search space for this trial",
    "clock": "checkpoints and evaluations of one step have the same submission time",
    "limits": "the limits of the container are those that the trial was to have",
    "harness": "the trial ran with the sources of this checkout",
    "source": "the submission is the one that is in its place now",
    "output": "what the worker printed is there, and tells of no failure",
    "rerun": "with --rerun, the same seeds give the same scores in about the same time",
}


class Verdict(enum.StrEnum):
    """What an audit comes to."""

    SOUND = "sound"
    WARNINGS = "sound with warnings"
    UNSOUND = "not sound"

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> "Verdict":
        """The verdict that follows from what was found."""
        if any(finding.severity is Severity.ERROR for finding in findings):
            return cls.UNSOUND
        return cls.WARNINGS if findings else cls.SOUND


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How to audit.

    Attributes:
      data_dir: where the data sets are; None is where the trial had them.
      tolerance: relative, for metrics measured again in the framework of the trial.
      cross_framework: whether to measure in the other framework, too.
      cross_tolerance: relative, for that.
      rerun: whether to run the trial again.
      rerun_dir: an experiment folder for that; None is one that is deleted afterwards.
      time_tolerance: relative difference of times that is expected of a rerun; None is what the
        trial itself tells.
    """

    data_dir: Path | None = None
    tolerance: float = 1e-5
    cross_framework: bool = False
    cross_tolerance: float = 1e-3
    rerun: bool = False
    rerun_dir: Path | None = None
    time_tolerance: float | None = None


@dataclasses.dataclass(frozen=True)
class Audit:
    """What was found about a trial.

    Attributes:
      run: the trial.
      record: its log; None if that is damaged.
      proof: the snapshot that was measured again, if there is one.
      measured: what was measured, by framework.
      rerun: the trial beside its repetition, if that was asked for.
      findings: what speaks against the trial.
    """

    run: Run
    record: Record | None
    proof: Proof | None
    measured: tuple[Remeasured, ...]
    rerun: Rerun | None
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """What it comes to."""
        return Verdict.of(self.findings)


def audit_runs(runs: Sequence[Run], options: Options) -> list[Audit]:
    """Audits trials, each by itself and beside the others.

    Raises:
      UserError: data, packages or a submission that is to run again are missing.
    """
    checked = [check_trial(run) for run in runs]
    across = list(check_across([facts for _, facts in checked]))
    audits = []
    for (found, _), run in zip(checked, track(runs, "trials audited"), strict=True):
        shared = [finding for finding in across if finding.path.is_relative_to(run.path)]
        audits.append(_audit(run, [*found, *shared], options))
    return audits


def _audit(run: Run, findings: list[Finding], options: Options) -> Audit:
    record = read_record(run)
    if record is None:
        if Verdict.of(findings) is not Verdict.UNSOUND:
            problem = "it has no event log, so nothing can be audited"
            findings.append(Finding("files", run.path, problem, "audit a trial of this project"))
        return Audit(run, None, None, (), None, tuple(findings))
    findings += _rule_findings(record)
    if record.end is None:  # its checkpoints may go away at any moment
        return Audit(run, record, None, (), None, tuple(findings))
    proof, found = find_proof(record)
    findings += found
    measured: list[Remeasured] = []
    if proof is not None:
        for framework in _frameworks(record, options):
            findings += _measure(record, proof, framework, options, measured)
    rerun = None
    if options.rerun:
        rerun, found = _rerun(record, options)
        findings += found
    return Audit(run, record, proof, tuple(measured), rerun, tuple(findings))


def _rule_findings(record: Record) -> Iterator[Finding]:
    try:
        expected: Mapping[str, Any] = expected_start(record, record.definition())
    except UserError as error:
        path, problem = record.run.path / META_FILE, str(error).removesuffix(".")
        yield Finding("rules", path, problem, "audit it with the version that ran it")
        return
    yield from check_rules(record, expected)
    yield from check_hyperparameters(record)
    yield from check_checkpoint_clocks(record)
    yield from check_limits(record)
    yield from check_surroundings(record, expected)


def _frameworks(record: Record, options: Options) -> list[str]:
    own = record.framework
    return [own, *(one for one in FRAMEWORKS if options.cross_framework and one != own)]


def _data_dir(record: Record, options: Options) -> Path:
    return options.data_dir or Path(record.start["data_dir"])


def _measure(
    record: Record, proof: Proof, framework: str, options: Options, measured: list[Remeasured]
) -> Iterator[Finding]:
    found = remeasure(record, proof, framework, _data_dir(record, options))
    if isinstance(found, Finding):
        yield found
        return
    measured.append(Remeasured(framework, found, largest_difference(proof.event["metrics"], found)))
    is_own = framework == record.framework
    kind, tolerance = (
        ("scores", options.tolerance) if is_own else ("cross", options.cross_tolerance)
    )
    yield from compare(record, proof, found, kind=kind, tolerance=tolerance)


def _rerun(record: Record, options: Options) -> tuple[Rerun | None, list[Finding]]:
    with tempfile.TemporaryDirectory(prefix="finishline-rerun-") as temporary:
        experiment = options.rerun_dir or Path(temporary, "rerun")
        try:
            repeated = repeat(record, experiment, _data_dir(record, options))
        except UserError as error:
            problem = f"it was not run again: {str(error).removesuffix('.')}"
            return None, [warning("rerun", record.run.path, problem, "see to that, and try again")]
        rerun = compare_runs(record, repeated, time_tolerance=options.time_tolerance)
        return rerun, list(check_rerun(record, repeated, rerun, tolerance=options.tolerance))
