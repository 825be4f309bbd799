"""A competition: submissions x workloads x studies x trials, one process a trial."""

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from finishline.errors import Status, UserError
from finishline.frameworks import FRAMEWORKS
from finishline.records import META_FILE, read_json
from finishline.study import DEFAULT_NUM_TRIALS, StudyConfig, finished_status, plan_study
from finishline.trial import TrialConfig
from finishline.workload import all_workloads, find_workload

_RUNNER = Path(__file__).resolve().parent.parent / "submission_runner.py"
_REFERENCE = _RUNNER.parent / "reference_submissions"
_FAILED = (Status.SUBMISSION_ERROR, Status.RULE_VIOLATION, Status.INFRASTRUCTURE_ERROR)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompetitionConfig:
    """What the command line of ``competition.py`` says.

    Attributes:
      submissions: files or folders of submissions, or names of reference submissions.
      workloads: names of workloads.
      frameworks: 'jax', 'pytorch' or both.
      num_studies: studies of each submission on each workload.
      The others are those of ``StudyConfig``.
    """

    submissions: Sequence[str]
    workloads: Sequence[str]
    frameworks: Sequence[str] = FRAMEWORKS
    tuning_ruleset: str = "external"
    num_studies: int = 1
    num_tuning_trials: int | None = None
    rng_seed: int = 0
    data_dir: Path = Path("data")
    experiment_dir: Path = Path("experiments")
    experiment_name: str = "competition"
    num_devices: int | None = None
    max_global_steps: int | None = None
    save_checkpoints: bool = True
    torch_compile: bool = False

    @property
    def root(self) -> Path:
        """The folder of the competition."""
        return self.experiment_dir.absolute() / self.experiment_name


def suite(name: str) -> list[str]:
    """The workloads of a suite.

    Raises:
      UserError: there is no such suite.
    """
    suites = {"embedded": [w.name for w in all_workloads().values() if w.is_embedded]}
    if name not in suites:
        raise UserError(f"There is no suite {name!r}; use one of: {', '.join(suites)}.")
    return suites[name]


def plan(config: CompetitionConfig) -> list[tuple[StudyConfig, TrialConfig]]:
    """All trials, interleaved: each submission's first trial comes before anyone's second.

    Whatever drifts on the machine then meets all submissions alike.

    Raises:
      UserError: a submission, workload or search space is not right. Nothing has been run then.
    """
    studies = list(_studies(config))
    if not studies:
        raise UserError(
            f"None of the submissions {', '.join(config.submissions)} is written for "
            f"{' or '.join(config.frameworks)}; give other --submissions or --frameworks."
        )
    trials = [(study, trial) for study in studies for trial in plan_study(study)]
    return sorted(trials, key=lambda pair: (pair[0].study, pair[1].trial))


def _studies(config: CompetitionConfig) -> Iterator[StudyConfig]:
    for study in range(config.num_studies):
        for workload in config.workloads:
            find_workload(workload)
            for framework in config.frameworks:
                for submission in config.submissions:
                    path = _resolve(submission)
                    if _is_written_for(path, framework):
                        yield _study(config, study, workload, framework, path)


def _study(
    config: CompetitionConfig, study: int, workload: str, framework: str, submission: Path
) -> StudyConfig:
    return StudyConfig(
        submission_path=str(submission),
        framework=framework,
        workload=workload,
        tuning_ruleset=config.tuning_ruleset,
        num_tuning_trials=config.num_tuning_trials or DEFAULT_NUM_TRIALS[config.tuning_ruleset],
        study=study,
        rng_seed=config.rng_seed,
        data_dir=config.data_dir,
        experiment_dir=config.experiment_dir,
        experiment_name=config.experiment_name,
        resume=True,
        num_devices=config.num_devices,
        max_global_steps=config.max_global_steps,
        save_checkpoints=config.save_checkpoints,
        torch_compile=config.torch_compile,
    )


def _resolve(submission: str) -> Path:
    """The path of a submission that is given by path or by the name of a reference submission."""
    path = Path(submission).expanduser()
    if path.exists():
        return path.absolute()
    if (_REFERENCE / submission).is_dir():
        return _REFERENCE / submission
    known = ", ".join(sorted(p.name for p in _REFERENCE.iterdir() if p.is_dir()))
    raise UserError(
        f"There is no submission {submission!r}; give the path of its file or folder, or one of "
        f"the reference submissions: {known}."
    )


def _is_written_for(path: Path, framework: str) -> bool:
    if path.is_file():
        other = next(name for name in FRAMEWORKS if name != framework)
        return other not in path.parts[-3:]
    return (path / framework / "submission.py").is_file() or (path / "submission.py").is_file()


def run(config: CompetitionConfig) -> int:
    """Runs what is missing, then writes and prints the leaderboard; returns the exit code.

    Trials that have ended are not run again; interrupted ones are continued. A trial that fails
    does not stop the others.
    """
    from scoring.leaderboard import print_leaderboard
    from scoring.score_submissions import score_directory

    trials = plan(config)
    started = time.monotonic()
    print(f"{len(trials)} trials in {config.root}", flush=True)
    for number, (study, trial) in enumerate(trials, start=1):
        if finished_status(trial.run_dir) is not None:
            print(
                f"[{number}/{len(trials)}] {trial.run_dir.relative_to(config.root)}: done already"
            )
            continue
        left = _time_left(started, number - 1, len(trials))
        print(f"[{number}/{len(trials)}]{left}", end=" ", flush=True)
        if _run_trial(study, trial) == Status.INTERRUPTED.exit_code:
            print("The competition was interrupted; the same command continues it.")
            return Status.INTERRUPTED.exit_code
    results = config.root / "leaderboard"
    scores = score_directory(
        config.root, results, num_studies=config.num_studies, workloads=list(config.workloads)
    )
    print_leaderboard(scores)
    print(f"Leaderboard: {results / 'leaderboard.md'}\nRecords: {config.root}")
    return _exit_code([trial for _, trial in trials])


def _time_left(started: float, done: int, total: int) -> str:
    if not done:
        return ""
    minutes = (time.monotonic() - started) / done * (total - done) / 60
    return f" (about {minutes:.0f} min left)"


def _run_trial(study: StudyConfig, trial: TrialConfig) -> int:
    """Runs one trial in a process of its own; returns its exit code."""
    process = subprocess.Popen(_command(study, trial))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # a terminal has done that; `kill` has not


def _command(study: StudyConfig, trial: TrialConfig) -> list[str]:
    arguments = {
        "framework": study.framework,
        "workload": study.workload,
        "submission_path": study.submission_path,
        "tuning_ruleset": study.tuning_ruleset,
        "num_tuning_trials": study.num_tuning_trials,
        "hparam_start_index": trial.trial - 1,
        "hparam_end_index": trial.trial,
        "study": study.study,
        "rng_seed": study.rng_seed,
        "data_dir": study.data_dir,
        "experiment_dir": study.experiment_dir,
        "experiment_name": study.experiment_name,
        "resume": True,
        "num_devices": trial.num_devices,
        "max_global_steps": study.max_global_steps,
        "save_checkpoints": study.save_checkpoints,
        "torch_compile": study.torch_compile,
    }
    given = {name: value for name, value in arguments.items() if value is not None}
    return [sys.executable, str(_RUNNER), *(f"--{name}={value}" for name, value in given.items())]


def _exit_code(trials: Sequence[TrialConfig]) -> int:
    """1 if a trial has failed, whoever's failure it was; a missed target is no failure."""
    statuses = [(read_json(trial.run_dir / META_FILE) or {}).get("status") for trial in trials]
    return int(any(status in _FAILED or status is None for status in statuses))
