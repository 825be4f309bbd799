"""From the results of trials to the times of studies and their medians."""

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from scoring.logs import Problem, Trial, natural_order
from scoring.rules import Rules, Scorer, StudyResult, medians, study_result
from scoring.times import TrialResult

_TIME_STAMPED = re.compile(r"(.+)-[0-9]{4}(?:-[0-9]{2}){5}", re.DOTALL)

Results = Mapping[tuple[str, str], Sequence[TrialResult]]  # by (submission, workload)
StudyKey = tuple[str, str, str]  # submission, workload, study


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """The times and scores by one set of rules; the columns are those of the scorer.

    Attributes:
      studies: the result of each (submission, workload, study) with trials.
      study_times: seconds, infinity for none, NaN for studies that do not count; shape
        (submissions, workloads, studies).
      times: their medians, shape (submissions, workloads).
      scores: in [0, 1], shape (submissions,).
    """

    scorer: Scorer
    studies: Mapping[StudyKey, StudyResult]
    study_times: np.ndarray
    times: np.ndarray
    scores: np.ndarray


def tabulate(
    results: Results,
    submissions: Sequence[str],
    scorer: Scorer,
    rules: Rules,
    num_studies: int,
) -> Table:
    """Tables the studies of all submissions on the scorer's workloads.

    Args:
      num_studies: under the default rules, how many studies count; the missing ones are infinite.
    """
    studies: dict[StudyKey, StudyResult] = {}
    kept = {} if not rules.regular_only else _counted_studies(results, num_studies)
    merged = {} if rules.regular_only else merged_submissions(submissions)
    times: dict[tuple[int, int], list[float]] = {}
    for row, submission in enumerate(submissions):
        sources = [submission, *(name for name, base in merged.items() if base == submission)]
        for column, workload in enumerate(scorer.workloads):
            by_study: dict[str, list[TrialResult]] = collections.defaultdict(list)
            for source in sources:
                for one in results.get((source, workload), ()):
                    by_study[one.trial.study].append(one)
            found = []
            for study in sorted(by_study, key=natural_order):
                if rules.regular_only and study not in kept[submission]:
                    continue
                result = study_result(by_study[study], submission, rules)
                if result.is_present or (rules.missing_is_infinite and result.num_run):
                    studies[submission, workload, study] = result
                    found.append(result.time)
            times[row, column] = found
    filler = math.inf if rules.missing_is_infinite else math.nan
    length = num_studies
    if not rules.missing_is_infinite:
        length = max(map(len, times.values()), default=0)
    study_times = np.full((len(submissions), len(scorer.workloads), length), filler)
    for (row, column), found in times.items():
        study_times[row, column, : len(found)] = found
    middle = medians(study_times)
    return Table(
        scorer=scorer,
        studies=studies,
        study_times=study_times,
        times=middle,
        scores=scorer.scores(middle),
    )


def _counted_studies(results: Results, num_studies: int) -> dict[str, set[str]]:
    """The first ``num_studies`` studies of each submission."""
    studies = _studies(one.trial for group in results.values() for one in group)
    return collections.defaultdict(
        set, {name: set(found[:num_studies]) for name, found in studies.items()}
    )


def _studies(trials: Iterable[Trial]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = collections.defaultdict(set)
    for trial in trials:
        if trial.is_regular:
            found[trial.submission].add(trial.study)
    return {name: sorted(studies, key=natural_order) for name, studies in found.items()}


def most_studies(trials: Iterable[Trial]) -> int:
    """The largest number of studies that a submission has."""
    return max(map(len, _studies(trials).values()), default=1)


def surplus(trials: Iterable[Trial], num_studies: int) -> list[Problem]:
    """The studies beyond ``num_studies``, which do not count."""
    return [
        Problem(
            f"{name}/{study}",
            f"is not counted: {name} has {len(found)} studies instead of {num_studies}",
        )
        for name, found in _studies(trials).items()
        for study in found[num_studies:]
    ]


def time_stamped(submissions: Sequence[str], rules: Rules) -> list[Problem]:
    """Submissions under another one's name with a time stamp, which may be runs of it."""
    problems = []
    for name, base in merged_submissions(submissions).items():
        reason = f"has the name of {base!r} with a time stamp and is scored on its own"
        if not rules.regular_only:
            reason += f"; under the published rules its runs count for {base!r}, too"
        problems.append(Problem(name, reason))
    return problems


def merged_submissions(submissions: Sequence[str]) -> dict[str, str]:
    """The submissions under a time stamp, with the name that AlgoPerf's scorer takes them for."""
    matches = {name: _TIME_STAMPED.fullmatch(name) for name in submissions}
    return {name: match[1] for name, match in matches.items() if match and match[1] in submissions}
