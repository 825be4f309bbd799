"""Running a competition: one process a trial, then the leaderboard."""

import dataclasses
import functools
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finishline.competition import CompetitionConfig, plan
from finishline.errors import InfrastructureError, Status, UserError
from finishline.executors import LocalExecutor
from finishline.records import META_FILE, read_json, write_json
from finishline.seals import Seals, common_files, record_files
from finishline.study import StudyConfig, finished_status, recorded_status
from finishline.tether import die_with_parent
from finishline.trial import TrialConfig

_RUNNER = Path(__file__).resolve().parent.parent / "submission_runner.py"
_BOOTSTRAP_SAMPLES = 1000
_REGULAR = (Status.TARGET_REACHED, Status.BUDGET_SPENT, Status.TRAINING_COMPLETE)

Planned = Sequence[tuple[StudyConfig, TrialConfig]]


def run(config: CompetitionConfig) -> int:
    """Runs what is missing, then writes and prints the leaderboard; returns the exit code.

    Trials that have ended are not run again; interrupted ones are continued. A trial that fails
    does not stop the others.
    """
    # Before any submission runs, so that none can change how it is scored.
    _import_page()
    from scoring.score_submissions import score_directory
    from scoring.scores import Options
    from scoring.tables import print_leaderboard
    from scoring.versions import Benchmark

    if not isinstance(config.executor, LocalExecutor):
        from finishline.containers.competing import make_executors

        config = dataclasses.replace(config, executors=make_executors(config))
    trials = plan(config)
    ending = run_trials(trials, config.root)
    if ending is not None:
        return ending.exit_code
    results = config.root / "leaderboard"
    benchmark = Benchmark(
        # The project's own targets, not those that the records claim to have had.
        targets={trial.workload.name: trial.workload.target for _, trial in trials},
        base_workloads=tuple(config.workloads),
        num_studies=config.num_studies,
    )
    options = Options(
        benchmark=benchmark,
        ruleset=config.tuning_ruleset,
        bootstrap=_BOOTSTRAP_SAMPLES if config.num_studies > 1 else 0,
    )
    print_leaderboard(score_directory(config.root, results, options))
    print(f"Leaderboard: {results / 'leaderboard.html'}\nRecords: {config.root}")
    return int(any(recorded_status(trial.run_dir) not in _REGULAR for _, trial in trials))


def run_trials(trials: Planned, root: Path) -> Status | None:
    """Runs what is missing of ``trials``, whose records are below ``root``; says so if it cannot.

    Returns:
      None if all have ended, else why not: interrupted, or an infrastructure error.
    """
    print(f"{len(trials)} trials in {root}", flush=True)
    seals = Seals()
    seals.put_on(common_files(trial for _, trial in trials))
    for _, trial in trials:
        seals.put_on(record_files(trial))
    try:
        is_complete = _run_trials(trials, seals, root)
        _check(seals)
    except InfrastructureError as error:
        print(f"error: {error}", file=sys.stderr)
        return Status.INFRASTRUCTURE_ERROR
    if not is_complete:
        print("The trials were interrupted; the same command continues them.")
        return Status.INTERRUPTED
    return None


def _import_page() -> None:
    try:
        importlib.import_module("scoring.page")
    except ImportError as error:
        raise UserError(
            f"The leaderboard's page needs the package {error.name!r}, which is not installed; run "
            "`pip install -c constraints.txt -e '.[report]'`."
        ) from error


def _run_trials(trials: Planned, seals: Seals, root: Path) -> bool:
    """Whether all were run, or had been before; False if a person has interrupted them."""
    cores = os.sched_getaffinity(0)
    started, num_run = time.monotonic(), 0
    to_run = [trial for _, trial in trials if finished_status(trial.run_dir) is None]
    for number, (study, trial) in enumerate(trials, start=1):
        label = f"[{number}/{len(trials)}]"
        if trial not in to_run:
            print(f"{label} {trial.run_dir.relative_to(root)}: done already")
            continue
        print(f"{label}{_time_left(started, num_run, len(to_run))}", end=" ", flush=True)
        _check(seals)
        seals.take_off(record_files(trial))
        os.sched_setaffinity(0, cores)  # whatever the trial before did to this process
        code = _run_trial(study, trial)
        _note_loss(trial, code)
        seals.put_on(record_files(trial))
        if recorded_status(trial.run_dir) is Status.INTERRUPTED:
            return False
        num_run += 1
    return True


def _check(seals: Seals) -> None:
    if broken := seals.broken():
        raise InfrastructureError(
            f"{', '.join(map(str, broken[:3]))} changed while the competition ran; find out what "
            "changed it, delete the records that it may have spoiled, and start again."
        )


def _time_left(started: float, done: int, total: int) -> str:
    if not done:
        return ""
    minutes = (time.monotonic() - started) / done * (total - done) / 60
    return f" (about {minutes:.0f} min left)"


def _run_trial(study: StudyConfig, trial: TrialConfig) -> int:
    """Runs one trial in a process of its own; returns its exit code.

    The process has its own session, so that Ctrl-C reaches it once and through this one, and ends
    in good order when this one dies.
    """
    process = subprocess.Popen(
        trial_command(study, trial),
        start_new_session=True,
        preexec_fn=functools.partial(die_with_parent, os.getpid(), signal.SIGTERM),
    )
    is_told = False
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            if not is_told:
                process.send_signal(signal.SIGINT)
            is_told = True


def _note_loss(trial: TrialConfig, code: int) -> None:
    """Notes a trial whose process did not end as its record says, whoever wrote that."""
    status = recorded_status(trial.run_dir)
    if status is not None and code == status.exit_code:
        return
    meta = read_json(trial.run_dir / META_FILE)
    told: dict[str, Any] = meta if isinstance(meta, dict) else trial.describe()
    message = f"The trial's process ended with code {code}, its record with {told.get('status')}."
    print(message)
    trial.run_dir.mkdir(parents=True, exist_ok=True)
    failure = {"status": Status.INFRASTRUCTURE_ERROR, "message": message}
    write_json(trial.run_dir / META_FILE, told | failure)


def trial_command(study: StudyConfig, trial: TrialConfig) -> list[str]:
    """The command that runs or continues one trial of a study."""
    arguments = {
        **study.flags(),
        "framework": study.framework,
        "workload": study.workload,
        "submission_path": study.submission_path,
        "tuning_search_space": study.tuning_search_space,
        "hparam_start_index": trial.trial - 1,
        "hparam_end_index": trial.trial,
        "study": study.study,
        "experiment_name": study.experiment_name,
        "resume": True,
        "num_devices": trial.num_devices,
    }
    given = {name: value for name, value in arguments.items() if value is not None}
    return [sys.executable, str(_RUNNER), *(f"--{name}={value}" for name, value in given.items())]
