"""What a competition is: submissions x workloads x studies x trials, in a fixed order."""

import collections
import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from finishline.errors import UserError
from finishline.executors import Executor
from finishline.frameworks import FRAMEWORKS
from finishline.settings import RunSettings
from finishline.study import DEFAULT_NUM_TRIALS, StudyConfig, plan_study
from finishline.submission import (
    REFERENCE_SUBMISSIONS,
    check_submission,
    find_submission,
    is_submission_folder,
    is_written_for,
)
from finishline.trial import TrialConfig
from finishline.workload import find_workload


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompetitionConfig(RunSettings):
    """What the command line of ``competition.py`` says.

    If ``executor`` starts the workers in containers, an image without a name stands for one that is
    built.

    Attributes:
      submissions: files or folders of submissions, or names of reference submissions.
      workloads: names of workloads.
      frameworks: 'jax', 'pytorch' or both.
      num_studies: studies of each submission on each workload.
      experiment_name: of the competition.
      executors: by the path of a submission, what starts its workers instead of ``executor``.
      docker_base: image that an image is built from; None is the usual one.
    """

    submissions: Sequence[str]
    workloads: Sequence[str]
    frameworks: Sequence[str] = FRAMEWORKS
    num_studies: int = 1
    experiment_name: str = "competition"
    executors: Mapping[Path, Executor] = dataclasses.field(default_factory=dict)
    docker_base: str | None = None

    @functools.cached_property
    def submission_paths(self) -> list[Path]:
        """The files and folders of the submissions.

        Raises:
          UserError: there is none of that name, or its source says that it cannot be run.
        """
        paths = [path for given in self.submissions for path in _expand(_resolve(given))]
        for path in paths:
            _check_written(path)
        return paths

    @property
    def root(self) -> Path:
        """The folder of the competition."""
        return self.experiment_dir.absolute() / self.experiment_name


def plan(config: CompetitionConfig) -> list[tuple[StudyConfig, TrialConfig]]:
    """All trials, interleaved: each submission's first trial comes before anyone's second.

    Whatever drifts on the machine then meets all submissions alike.

    Raises:
      UserError: a submission, workload or search space is not right. Nothing has been run then.
    """
    _check_frameworks(config.frameworks)
    studies = list(_studies(config))
    if not studies:
        raise UserError(
            f"None of the submissions {', '.join(config.submissions)} is written for "
            f"{' or '.join(config.frameworks)}; give other --submissions or --frameworks."
        )
    trials = [(study, trial) for study in studies for trial in plan_study(study)]
    _check_names(trial for _, trial in trials)
    return sorted(trials, key=lambda pair: (pair[0].study, pair[1].trial))


def _check_frameworks(frameworks: Sequence[str]) -> None:
    for name in frameworks:
        if name not in FRAMEWORKS:
            raise UserError(f"There is no framework {name!r}; use {' or '.join(FRAMEWORKS)}.")


def _check_names(trials: Iterable[TrialConfig]) -> None:
    sources = collections.defaultdict(set)
    for trial in trials:
        sources[trial.submission.name].add(trial.submission.path)
    for name, paths in sources.items():
        if len(paths) > 1:
            listed = " and ".join(sorted(map(str, paths)))
            raise UserError(f"{listed} are both called {name!r}; rename the folder of one.")


def _studies(config: CompetitionConfig) -> Iterator[StudyConfig]:
    for study in range(config.num_studies):
        for workload in config.workloads:
            find_workload(workload)
            for framework in config.frameworks:
                for path in config.submission_paths:
                    if is_written_for(path, framework):
                        yield _study(config, study, workload, framework, path)


def _study(
    config: CompetitionConfig, study: int, workload: str, framework: str, submission: Path
) -> StudyConfig:
    settings = config.shared() | {
        "num_tuning_trials": config.num_tuning_trials or DEFAULT_NUM_TRIALS[config.tuning_ruleset],
        "executor": config.executors.get(submission, config.executor),
    }
    return StudyConfig(
        submission_path=str(submission),
        framework=framework,
        workload=workload,
        study=study,
        experiment_name=config.experiment_name,
        resume=True,
        **settings,
    )


def _expand(path: Path) -> list[Path]:
    """``path`` itself, or the submissions in it if it is a folder that only holds such."""
    if path.is_file() or is_submission_folder(path):
        return [path]
    return sorted(filter(is_submission_folder, path.iterdir())) or [path]


def _check_written(path: Path) -> None:
    """Raises ``UserError``, saying why, if the submission at ``path`` is for no framework."""
    if not any(is_written_for(path, framework) for framework in FRAMEWORKS):
        for framework in FRAMEWORKS:
            check_submission(find_submission(path, framework))


def _resolve(submission: str) -> Path:
    """The path of a submission that is given by path or by the name of a reference submission."""
    path = Path(submission).expanduser()
    if path.exists():
        return path.absolute()
    if (REFERENCE_SUBMISSIONS / submission).is_dir():
        return REFERENCE_SUBMISSIONS / submission
    known = ", ".join(sorted(p.name for p in REFERENCE_SUBMISSIONS.iterdir() if p.is_dir()))
    raise UserError(
        f"There is no submission {submission!r}; give the path of its file or folder, or one of "
        f"the reference submissions: {known}."
    )
