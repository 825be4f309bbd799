"""The trials of one study: one submission on one workload."""

import dataclasses
import datetime
import functools
import importlib.util
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from finishline.benchmark import NEWEST, definition_for
from finishline.calibration import OnDrift
from finishline.compat.check import check_sources
from finishline.devices import count_devices
from finishline.display import Display, create_display
from finishline.errors import InfrastructureError, Status, UserError
from finishline.executors import LocalExecutor
from finishline.records import META_FILE, RunDirectory, check_vacant, check_writable, read_json
from finishline.recovery import ended
from finishline.resuming import check_continues, newest_experiment
from finishline.seeds import tuning_seed
from finishline.settings import RunSettings
from finishline.submission import SubmissionFile, check_submission, find_submission
from finishline.trial import Outcome, TrialConfig
from finishline.tuning import SearchSpace
from finishline.workload import WorkloadDefinition, check_data, find_workload

FRAMEWORK_PACKAGES = {"jax": ("jax", "flax", "optax"), "pytorch": ("torch",)}
DEFAULT_NUM_TRIALS = {"external": 5, "self": 1}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyConfig(RunSettings):
    """What the command line of ``submission_runner.py`` says.

    Attributes:
      submission_path: the submission's file or folder.
      framework: 'jax' or 'pytorch'.
      workload: name of the workload.
      tuning_search_space: file with the search space; None is the one beside the submission.
      hparam_start_index: first point to run, from 0.
      hparam_end_index: the point to stop before; None is the last.
      study: number of the study, from 0.
      experiment_name: the experiment; None is a new name made of the time, or with ``resume`` the
        newest experiment in which this study has begun.
      resume: whether to continue trials that were interrupted.
      overwrite: whether to delete trials that are there.
    """

    submission_path: str
    framework: str
    workload: str
    tuning_search_space: str | None = None
    hparam_start_index: int | None = None
    hparam_end_index: int | None = None
    study: int = 0
    experiment_name: str | None = None
    resume: bool = False
    overwrite: bool = False


def plan_study(config: StudyConfig) -> list[TrialConfig]:
    """The trials of a study, after all checks that need no framework.

    Raises:
      UserError: something on the command line cannot work; one sentence says what.
    """
    submission = find_submission(config.submission_path, config.framework)
    check_submission(submission)
    _check_installed(config.framework)
    is_local = isinstance(config.executor, LocalExecutor)
    check_sources(submission.path, is_on=config.compat, checks_packages=is_local)
    version = config.benchmark_version or NEWEST
    workload = definition_for(find_workload(config.workload), version, config.hardware)
    max_global_steps = config.max_global_steps
    if config.step_hint_fraction is not None:
        workload = workload.shortened(config.step_hint_fraction)
        max_global_steps = min(workload.step_hint, max_global_steps or workload.step_hint)
    search_space = _search_space_path(config, submission)
    points = _points(config, search_space, submission, workload)
    first, last = _index_range(config, len(points))
    study = f"{submission.name}/study_{config.study}/{workload.name}_{config.framework}"
    run_root = config.experiment_dir.absolute() / _experiment_name(config, study) / study
    check_writable(run_root)
    config.executor.check()
    check_data(workload, config.data_dir)
    trials = [
        TrialConfig(
            workload=workload,
            submission=submission,
            tuning_ruleset=config.tuning_ruleset,
            study=config.study,
            trial=index + 1,
            hyperparameters=points[index],
            search_space_path=search_space,
            root_seed=config.rng_seed,
            data_dir=config.data_dir.absolute(),
            run_dir=run_root / f"trial_{index + 1}",
            num_devices=config.num_devices or config.executor.count_devices(config.framework),
            max_global_steps=max_global_steps,
            stop_at_target=config.stop_at_target,
            save_checkpoints=config.save_checkpoints,
            compile_model=config.torch_compile,
            shard_embeddings=config.shard_embeddings,
            compat=config.compat,
            benchmark_version=version,
            hardware=config.hardware,
            executor=config.executor,
            on_drift=OnDrift(config.on_drift) if config.on_drift else None,
            max_drift=config.max_drift,
        )
        for index in range(first, last)
    ]
    if not config.overwrite:
        for trial in trials:
            check_continues(trial) if config.resume else check_vacant(trial.run_dir)
    return trials


def _check_installed(framework: str) -> None:
    for package in FRAMEWORK_PACKAGES[framework]:
        if importlib.util.find_spec(package) is None:
            extra = f"{framework}-cpu"
            raise UserError(
                f"The package {package!r} of --framework={framework} is not installed; run "
                f"`pip install -c constraints.txt -e '.[{extra}]'`."
            )


def _search_space_path(config: StudyConfig, submission: SubmissionFile) -> Path | None:
    """The file to draw the hyperparameters from; None under self-tuning."""
    if config.tuning_ruleset not in DEFAULT_NUM_TRIALS:
        raise UserError(
            f"There is no tuning ruleset {config.tuning_ruleset!r}; use external or self."
        )
    if config.tuning_ruleset == "self":
        if config.tuning_search_space:
            raise UserError(
                "A self-tuning submission has no search space; leave out --tuning_search_space "
                f"({config.tuning_search_space}) or use --tuning_ruleset=external."
            )
        return None
    if config.tuning_search_space:
        return Path(config.tuning_search_space).absolute()
    if submission.search_space_path is None:
        raise UserError(
            f"{submission.path.parent} has no tuning_search_space.json; add one, give "
            "--tuning_search_space, or use --tuning_ruleset=self."
        )
    return submission.search_space_path


def _points(
    config: StudyConfig,
    search_space: Path | None,
    submission: SubmissionFile,
    workload: WorkloadDefinition,
) -> list[Any]:
    count = config.num_tuning_trials or DEFAULT_NUM_TRIALS[config.tuning_ruleset]
    if search_space is None:
        return [None] * count
    seed = tuning_seed(config.rng_seed, submission.name, workload.name, config.study)
    return list(SearchSpace.load(search_space).points(count, seed))


def _index_range(config: StudyConfig, count: int) -> tuple[int, int]:
    first = config.hparam_start_index or 0
    last = count if config.hparam_end_index is None else config.hparam_end_index
    if not 0 <= first < last <= count:
        raise UserError(
            f"--hparam_start_index={first} and --hparam_end_index={last} select none of the "
            f"{count} trials; use 0 <= start < end <= {count}."
        )
    return first, last


def _experiment_name(config: StudyConfig, study: str) -> str:
    """The name on the command line, or with ``--resume`` the newest, or one made of the time."""
    newest = newest_experiment(config.experiment_dir, study) if config.resume else None
    now = datetime.datetime.now().strftime("%Y-%m-%d-%H-%M-%S")
    return config.experiment_name or newest or now


def run_study(config: StudyConfig) -> Status:
    """Runs the trials one after the other; returns the status of the best.

    Raises:
      UserError: see ``plan_study``; also when trials are there and are neither to be continued nor
        to be overwritten.
    """
    trials = plan_study(config)
    runs = [_open_run(trial, config) for trial in trials]
    display = create_display()
    create_evaluator = evaluator_factory(trials[0])
    outcomes = []
    with _SigtermAsInterrupt():
        for trial, run in zip(trials, runs, strict=True):
            outcomes.append(run_or_skip(trial, run, create_evaluator, display))
            run.close()
            if outcomes[-1] is Status.INTERRUPTED:
                print(f"Continue with: {_continuing_command(config, trial)}")
                break
    print(f"Records: {trials[0].run_dir.parent}")
    return min(outcomes, key=list(Status).index)


def _open_run(trial: TrialConfig, config: StudyConfig) -> RunDirectory:
    try:
        return RunDirectory(trial.run_dir, resume=config.resume, overwrite=config.overwrite)
    except InfrastructureError as error:
        raise UserError(
            f"{str(error).removesuffix('.')}; put a copy of it there, or delete the trial with "
            "--overwrite."
        ) from error


def _continuing_command(config: StudyConfig, trial: TrialConfig) -> str:
    """The command of this process, made to continue what it leaves."""
    name = trial.run_dir.parents[3].name
    more = [] if config.experiment_name else [f"--experiment_name={name}"]
    more += [] if config.resume else ["--resume"]
    more += ["--nooverwrite"] if config.overwrite else []
    return shlex.join(["python", *sys.argv, *more])


def run_or_skip(
    trial: TrialConfig,
    run: RunDirectory,
    create_evaluator: Callable[[], Any],
    display: Display,
) -> Status:
    """Runs a trial unless its record says that it is over."""
    from finishline.referee import Referee

    status = finished_status(trial.run_dir) or ended(run)
    if status is not None:
        print(f"{trial.run_dir}: {status.value} already; nothing to do.")
        return status
    outcome: Outcome = Referee(trial, run, create_evaluator, display).run_trial()
    return outcome.status


def recorded_status(run_dir: Path) -> Status | None:
    """What the record in ``run_dir`` says; None for a trial that has not ended."""
    meta = read_json(run_dir / META_FILE)
    status = meta.get("status") if isinstance(meta, dict) else None
    return Status(status) if status in set(Status) else None


def finished_status(run_dir: Path) -> Status | None:
    """How the trial in ``run_dir`` ended; None if it has not, or can be continued."""
    status = recorded_status(run_dir)
    return status if status is not None and status.is_final else None


def evaluator_factory(trial: TrialConfig) -> Callable[[], Any]:
    """Makes the evaluator of a study once, when it is first needed."""

    @functools.cache
    def create() -> Any:
        from finishline.evaluator import Evaluator
        from finishline.frameworks.environment import prepare_environment

        framework = trial.submission.framework
        prepare_environment(framework)
        # Without so many GPUs the worker's devices are parts of the CPU, which is one to evaluate.
        num_devices = min(trial.num_devices, count_devices(framework))
        return Evaluator(trial.workload, framework, trial.data_dir, num_devices=num_devices)

    return create


class _SigtermAsInterrupt:
    """While active, SIGTERM raises KeyboardInterrupt, so that trials end in good order."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGTERM, self._raise)

    def __exit__(self, *exception: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _raise(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
