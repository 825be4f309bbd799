"""Checks the records of trials: ``python -m scoring.check_logs experiments/competition``."""

import argparse
import collections
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from finishline.errors import BAD_INPUT_EXIT_CODE, Status, UserError
from scoring.checks.across import check_across
from scoring.checks.findings import KINDS, Finding, Severity
from scoring.checks.trial import Facts, check_trial
from scoring.progress import track
from scoring.runs import Run, find_runs

_EXIT_CODE_OF_FINDINGS = 1


def check_runs(runs: Sequence[Run], *, read_checkpoints: bool = True) -> list[Finding]:
    """All that is wrong with run directories, each by itself and between them."""
    return _check(runs, read_checkpoints=read_checkpoints)[0]


def _check(runs: Sequence[Run], *, read_checkpoints: bool) -> tuple[list[Finding], list[Facts]]:
    findings: list[Finding] = []
    all_facts: list[Facts] = []
    for run in track(runs, "trials checked"):
        found, facts = check_trial(run, read_checkpoints=read_checkpoints)
        findings += found
        all_facts.append(facts)
    findings += check_across(all_facts)
    return findings, all_facts


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks a folder; returns the exit code."""
    flags = _parser().parse_args(arguments)
    try:
        start = time.monotonic()
        findings, all_facts = _check(find_runs(flags.directory), read_checkpoints=not flags.quick)
        for finding in findings:
            print(finding)
        _print_summary(findings, all_facts, time.monotonic() - start)
    except UserError as error:
        print(f"check_logs: {error}", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE
    except KeyboardInterrupt:
        return Status.INTERRUPTED.exit_code
    except BrokenPipeError:  # `| head`
        sys.stderr.close()
        return _EXIT_CODE_OF_FINDINGS
    return _EXIT_CODE_OF_FINDINGS if findings else 0


def _print_summary(
    findings: Sequence[Finding], all_facts: Sequence[Facts], wall_time: float
) -> None:
    published = sum(facts.is_published for facts in all_facts)
    if published:
        verb = "has" if published == 1 else "have"
        print(
            f"{_count(published, 'trial')} {verb} neither events.jsonl nor meta.json: there only "
            "eval_measurements.csv was checked (columns, numbers, order of times and steps, "
            "copies; the budget where meta_data_0.json has it)."
        )
    counts = collections.Counter(finding.severity for finding in findings)
    totals = ", ".join(_count(counts[severity], severity.value) for severity in Severity)
    print(f"{_count(len(all_facts), 'trial')} checked in {wall_time:.1f} s: {totals}.")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, KINDS))
    kinds = "\n".join(f"  {kind:<{width}}  {text}" for kind, text in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m scoring.check_logs",
        description="Checks the records of trials and prints one line for each thing that is\n"
        "wrong: severity, file, what, remedy and, in brackets, what was checked.",
        epilog=f"what is checked:\n{kinds}\n\n"
        "exit codes: 0 nothing is wrong, 1 something is, 2 bad input",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "directory", type=Path, help="folder with trials: a competition, or any part of one"
    )
    parser.add_argument(
        "--quick", action="store_true", help="do not read the files of checkpoints, only list them"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
