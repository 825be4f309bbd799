"""The dry run: three steps on small workloads, through the referee, in a folder that goes again."""

import dataclasses
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from finishline.checking.folder import Folder
from finishline.checking.report import Finding, Section, problem
from finishline.errors import BAD_INPUT_EXIT_CODE, Status, UserError
from finishline.executors import Executor, LocalExecutor
from finishline.organizer import trial_command
from finishline.records import EVENTS_FILE, META_FILE, evaluations, read_events, read_json
from finishline.study import StudyConfig, plan_study

NUM_STEPS = 3
_TIMEOUT = 900  # seconds for one workload, making its data and compiling included
_COUNTS = (Status.TARGET_REACHED, Status.BUDGET_SPENT, Status.TRAINING_COMPLETE)


@dataclasses.dataclass(frozen=True)
class DryRun:
    """How to run.

    Attributes:
      workloads: their names.
      data_dir: where the data sets are; what is generated is made there at need.
      executor: where the submission trains.
      more_flags: those of ``submission_runner.py`` that say the same, by name.
      tell: is given a line before each run.
    """

    workloads: Sequence[str]
    data_dir: Path
    executor: Executor = dataclasses.field(default_factory=LocalExecutor)
    more_flags: Mapping[str, object] = dataclasses.field(default_factory=dict)
    tell: Callable[[str], None] = lambda line: None


def check_dry_run(folder: Folder, plan: DryRun, ruleset: str) -> Section:
    """Runs each framework's file on each workload, under 'external' or 'self' tuning."""
    done: list[str] = []
    findings: list[Finding] = []
    for framework in folder.submissions:
        for workload in plan.workloads:
            plan.tell(f"dry run: {framework} on {workload} ...")
            started = time.monotonic()
            fault = _run(folder, plan, ruleset, framework, workload)
            if fault is None:
                done.append(f"{framework} on {workload} ({time.monotonic() - started:.0f} s)")
            else:
                sentence, _, details = folder.shorten(fault).strip().partition("\n")
                told = problem(f"{framework} on {workload}: {sentence}")
                findings.append(dataclasses.replace(told, details=details))
    summary = f"{NUM_STEPS} steps of {', '.join(done)}" if done else "failed"
    return Section("dry run", summary, tuple(findings))


def _run(folder: Folder, plan: DryRun, ruleset: str, framework: str, workload: str) -> str | None:
    """What went wrong, or None."""
    with tempfile.TemporaryDirectory(prefix="finishline-check-") as experiments:
        config = StudyConfig(
            submission_path=str(folder.submissions[framework].path),
            framework=framework,
            workload=workload,
            tuning_ruleset=ruleset,
            num_tuning_trials=1,
            data_dir=plan.data_dir,
            experiment_dir=Path(experiments),
            experiment_name="dry_run",
            max_global_steps=NUM_STEPS,
            save_checkpoints=False,
            executor=plan.executor,
        )
        try:
            trial = plan_study(config)[0]
            more = [f"--{name}={_as_text(value)}" for name, value in plan.more_flags.items()]
            command = [*trial_command(config, trial), *more]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT)
        except UserError as error:
            return str(error)
        except subprocess.TimeoutExpired:
            return f"not over after {_TIMEOUT} s; find out what it waits for."
        if not (trial.run_dir / META_FILE).is_file():
            return _last_words(done)
        return _fault(trial.run_dir, done)


def _as_text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _fault(run_dir: Path, done: subprocess.CompletedProcess[str]) -> str | None:
    meta = read_json(run_dir / META_FILE)
    status = meta.get("status") if isinstance(meta, dict) else None
    if status not in _COUNTS:
        told = meta.get("message") if isinstance(meta, dict) else None
        return f"{status}: {told or _last_words(done)}"
    losses = [
        event["metrics"].get("validation/loss", 0.0)
        for event in evaluations(event for _, event in read_events(run_dir / EVENTS_FILE))
    ]
    if not losses:
        return "no evaluation took place; see what submission_runner.py says of it."
    if losses[-1] is None or not math.isfinite(losses[-1]):
        return f"the validation loss after {NUM_STEPS} steps is {losses[-1]}; it must be finite."
    return None


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    """The sentence of bad input, or the end of the output."""
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    last = lines[-1].removeprefix("error: ") if lines else "no output"
    if done.returncode == BAD_INPUT_EXIT_CODE:
        return last
    return f"the runner ended with code {done.returncode}: {last}"
