"""From a directory of logs to the scores of its submissions."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from finishline.errors import UserError
from finishline.workload import Target
from scoring import profiles
from scoring.logs import META_FILE, LogError, Logs, Meta, Problem, Trial, find_logs, read_meta
from scoring.targets import describe, race, resolve_target
from scoring.times import StudyKey, StudyResult, TrialResult, judge_trial, median_times


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scores:
    """The result of a competition; the submissions are in the order of their ranks.

    Attributes:
      root: the directory of the logs.
      submissions: names, best first; equal scores in alphabetical order.
      workloads: names of the scored workloads.
      targets: what each workload with logs was scored against.
      num_studies: how many studies the medians are over.
      ranks: from 1; equal scores share a rank and the next one is left out, shape (submissions,).
      scores: in [0, 1], shape (submissions,).
      times: median seconds to the target, infinity for none; shape (submissions, workloads).
      ratios: times by the best time of the workload, same shape.
      studies: the result of each (submission, workload, study) with trials.
      failures: the trials that ended by a fault, in the order of their names.
      problems: what else is wrong with the logs.
    """

    root: Path
    submissions: tuple[str, ...]
    workloads: tuple[str, ...]
    targets: Mapping[str, Target]
    num_studies: int
    ranks: tuple[int, ...]
    scores: np.ndarray
    times: np.ndarray
    ratios: np.ndarray
    studies: Mapping[StudyKey, StudyResult]
    failures: tuple[TrialResult, ...]
    problems: tuple[Problem, ...]

    def hits(self, submission: str, workload: str) -> tuple[int, int]:
        """How many trials reached the target, and how many there are, over all studies."""
        own = [
            study
            for (its_submission, its_workload, _), study in self.studies.items()
            if (its_submission, its_workload) == (submission, workload)
        ]
        return sum(study.num_reached for study in own), sum(study.num_run for study in own)


def compute_scores(
    root: Path,
    *,
    targets: Mapping[str, Target] | None = None,
    num_studies: int | None = None,
    workloads: Sequence[str] | None = None,
    skip: Path | None = None,
) -> Scores:
    """Scores the logs below ``root``.

    Args:
      root: the directory with one directory a submission.
      targets: the target of each workload. By default those that the trials recorded, and for
        logs that have none, the project's own.
      num_studies: how many studies each submission should have run on each workload; the missing
        ones count as failed. By default the largest number that a submission has.
      workloads: those that count, with or without logs. By default all that have logs.
      skip: a directory below ``root`` that holds no logs.

    Raises:
      UserError: there are no logs, or they do not fit each other or the arguments.
    """
    logs = _find(root, skip)
    problems = list(logs.problems)
    found = sorted({trial.workload for trial in logs.trials})
    names = tuple(dict.fromkeys(found if workloads is None else workloads))
    trials = [trial for trial in logs.trials if trial.workload in set(names)]
    problems.extend(_unscored(root, logs, names))
    _check_frameworks(trials)
    metas = {trial: _meta(trial, problems) for trial in trials}
    resolved = _resolve_targets(metas, targets, problems)
    studies, failures = _run_results(metas, resolved, problems)
    count = _count_studies(studies, num_studies)
    medians = median_times(studies, logs.submissions, names, count)
    ratios = profiles.performance_ratios(medians)
    values = profiles.benchmark_scores(ratios)
    order = sorted(range(len(values)), key=lambda index: (-values[index], logs.submissions[index]))
    return Scores(
        root=root,
        submissions=tuple(logs.submissions[index] for index in order),
        workloads=names,
        targets=resolved,
        num_studies=count,
        ranks=tuple(1 + int((values > values[index]).sum()) for index in order),
        scores=values[order],
        times=medians[order],
        ratios=ratios[order],
        studies=studies,
        failures=failures,
        problems=tuple(problems),
    )


def _find(root: Path, skip: Path | None) -> Logs:
    if not root.is_dir():
        raise UserError(f"There is no directory {root}; pass the directory that holds the logs.")
    logs = find_logs(root, skip=skip)
    if not logs.trials:
        raise UserError(
            f"There are no logs in {root}; pass the directory that holds"
            " <submission>/study_<k>/<workload>_<jax|pytorch>/trial_<n>/."
        )
    return logs


def _unscored(root: Path, logs: Logs, workloads: Sequence[str]) -> list[Problem]:
    """Where the logs and the list of scored workloads differ."""
    found = {trial.workload for trial in logs.trials}
    without_logs = [name for name in workloads if name not in found]
    not_scored = sorted(found - set(workloads))
    problems = []
    if without_logs:
        names = ", ".join(without_logs)
        problems.append(Problem(root, f"has no log of {names}, which count as 0 for all"))
    if not_scored:
        problems.append(Problem(root, f"has logs that are not scored: {', '.join(not_scored)}"))
    return problems


def _check_frameworks(trials: Iterable[Trial]) -> None:
    frameworks: dict[tuple[str, str], str] = {}
    for trial in trials:
        first = frameworks.setdefault((trial.submission, trial.workload), trial.framework)
        if first != trial.framework:
            raise UserError(
                f"Submission {trial.submission!r} has logs of the workload {trial.workload!r} in"
                " both jax and pytorch; give each framework a directory of its own."
            )


def _meta(trial: Trial, problems: list[Problem]) -> Meta | None:
    try:
        return read_meta(trial.path)
    except LogError as error:
        problems.append(Problem(trial.path / META_FILE, str(error)))
        return None


def _resolve_targets(
    metas: Mapping[Trial, Meta | None],
    given: Mapping[str, Target] | None,
    problems: list[Problem],
) -> dict[str, Target]:
    recorded: dict[str, list[tuple[Trial, Target]]] = collections.defaultdict(list)
    for trial, meta in metas.items():
        recorded[trial.workload] += [(trial, meta.target)] if meta and meta.target else []
    resolved = {}
    for workload, runs in recorded.items():
        target = resolve_target(workload, (one for _, one in runs), given)
        resolved[workload] = target
        others = [(trial, one) for trial, one in runs if race(one) != race(target)]
        if others:
            trial, other = others[0]
            reason = f"ran against {describe(other)} and is scored against {describe(target)}"
            more = f" (and {len(others) - 1} trials more)" if len(others) > 1 else ""
            problems.append(Problem(trial.path, reason + more))
    return resolved


def _run_results(
    metas: Mapping[Trial, Meta | None],
    targets: Mapping[str, Target],
    problems: list[Problem],
) -> tuple[dict[StudyKey, StudyResult], tuple[TrialResult, ...]]:
    """Reads one log after the other and keeps the studies' results and the failed trials."""
    studies: dict[StudyKey, StudyResult] = {}
    failures = []
    for trial, meta in metas.items():
        result, found = judge_trial(trial, meta, targets[trial.workload])
        problems.extend(found)
        if result.is_failed:
            failures.append(result)
        key = (trial.submission, trial.workload, trial.study)
        studies[key] = studies.get(key, StudyResult()).with_trial(result)
    return studies, tuple(failures)


def _count_studies(studies: Iterable[StudyKey], num_studies: int | None) -> int:
    numbers: dict[str, set[int]] = collections.defaultdict(set)
    for submission, _, study in studies:
        numbers[submission].add(study)
    largest = max(map(len, numbers.values()), default=1)
    if num_studies is None:
        return largest
    for submission, found in numbers.items():
        if len(found) > num_studies:
            raise UserError(
                f"Submission {submission!r} has {len(found)} studies and --num_studies is"
                f" {num_studies}; pass a larger number or take the surplus away."
            )
    return num_studies
