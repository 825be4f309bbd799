"""All results as one plain dict: the content of ``scores.json``, which every output is made from.

It is the same whenever and wherever the same logs are scored: it has no time, no absolute path, and
its lists are sorted. ``scoring/schema.json`` describes it. NaN and infinity are None.
"""

import collections
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from finishline.benchmark import NEWEST, load_version
from finishline.workload import all_workloads
from scoring import diagnostics, explanation, profiles, statistics
from scoring.reading import Curve
from scoring.scores import Options, Scores, compute_scores
from scoring.times import TrialResult

SCHEMA = "finishline-scores/1"
LEVEL = 0.95  # of the bootstrap's intervals
_MAX_DEPTH = 20  # of hyperparameters

Document = dict[str, Any]


class Curves(Mapping[str, tuple[list[Any], list[Any], list[Any]]]):
    """Learning curves by the trials' paths: times, steps and values of the target metric."""

    def __init__(self, curves: Mapping[str, Curve]):
        self._curves = curves

    def __getitem__(self, path: str) -> tuple[list[Any], list[Any], list[Any]]:
        time, step, value = self._curves[path]
        return time.tolist(), step.tolist(), value.tolist()

    def __iter__(self) -> Iterator[str]:
        return iter(self._curves)

    def __len__(self) -> int:
        return len(self._curves)


def build(root: Path, options: Options) -> tuple[Document, Curves]:
    """Scores the logs below ``root``.

    Returns:
      The document, and the learning curves if the options ask for them.

    Raises:
      UserError: there are no logs, or the options do not fit them.
    """
    scores = compute_scores(root, options)
    return Builder(scores).document(), Curves(scores.readings.curves)


class Builder:
    """Makes the document of scores."""

    def __init__(self, scores: Scores):
        self._scores = scores
        self._options = scores.options
        self._table = scores.table
        self._scorer = scores.table.scorer
        self._ratios = self._scorer.ratios(self._table.times)
        self._ranks = statistics.competition_ranks(self._table.scores).tolist()
        values = self._table.scores.tolist()
        self._order = sorted(
            range(len(values)), key=lambda row: (-values[row], scores.submissions[row])
        )
        self._workloads = list(map(self._workload, self._scorer.workloads))
        self._trials = {
            key: [one for one in group if one.trial.is_regular or not self._regular_only]
            for key, group in scores.readings.results.items()
        }

    @property
    def _regular_only(self) -> bool:
        return self._options.rules.regular_only

    def document(self) -> Document:
        """The document."""
        scores, options = self._scores, self._options
        sampled = options.bootstrap > 0
        document: Document = {
            "schema": SCHEMA,
            "rules": {
                "name": options.rules.name,
                "tuning_ruleset": options.ruleset,
                "benchmark_version": options.benchmark and options.benchmark.version,
                "strict": options.is_strict,
                "num_studies": scores.num_studies,
                "num_trials": scores.num_trials,
                "max_ratio": profiles.MAX_RATIO,
                "explanation": explanation.explain(scores),
                "differences": explanation.differences(scores),
            },
            "reference": options.reference,
            "bootstrap": {"samples": options.bootstrap, "seed": options.seed, "level": LEVEL}
            if sampled
            else None,
            "workloads": self._workloads,
            "submissions": self._submissions(),
            "results": list(self._results()),
            "studies": self._studies(),
            "trials": [_trial(one) for one in self._counted_trials()],
            "profiles": self._profiles(),
            "violations": [
                {"path": path, "rule": rule, "reason": reason}
                for path, rule, reason in scores.violations
            ],
            "problems": [{"path": one.path, "reason": one.reason} for one in scores.problems],
        }
        return {**document, "warnings": diagnostics.warnings(document)}

    def _workload(self, name: str) -> dict[str, Any]:
        benchmark, options = self._options.benchmark, self._options
        target = self._scores.targets.get(name)
        if benchmark is not None and benchmark.budgets:
            budget = benchmark.budget(name, options.ruleset)
            period, hint = benchmark.eval_period(name), benchmark.step_hints.get(name)
        elif (known := all_workloads().get(name)) is not None:
            factor = load_version(NEWEST).budget_factor(options.ruleset)
            budget = factor * known.max_allowed_runtime_sec
            period, hint = float(known.eval_period_time_sec), known.step_hint
        else:
            budget = period = hint = None
        held_out = self._scores.held_out.get(name)
        return {
            "name": name,
            "metric": target and target.metric,
            "minimize": target and target.minimize,
            "target": target and target.validation,
            "role": "base" if held_out is None else "held_out",
            "base": held_out,
            "budget_sec": budget,
            "eval_period_sec": period,
            "step_hint": hint,
        }

    def _submissions(self) -> list[dict[str, Any]]:
        names, scores = self._scores.submissions, self._table.scores
        without_workload, without_submission = self._left_out()
        speedups, sampled = self._speedups(), self._bootstrap()
        entries = []
        for row in self._order:
            name = names[row]
            trials = [
                one for (who, _), group in self._trials.items() if who == name for one in group
            ]
            statuses = collections.Counter(one.status for one in trials)
            entries.append(
                {
                    "name": name,
                    "rank": self._ranks[row],
                    "score": float(scores[row]),
                    "score_interval": sampled and sampled[0][row],
                    "rank_interval": sampled and sampled[1][row],
                    "rank_probabilities": sampled and sampled[2][row],
                    "speedup": speedups and _finite(speedups[row]),
                    "leave_one_workload_out": {
                        key: {"score": values[row], "rank": ranks[row]}
                        for key, (values, ranks) in without_workload.items()
                    },
                    "leave_one_submission_out": {
                        key: {"score": values[row], "rank": ranks[row]}
                        for key, (values, ranks) in without_submission.items()
                        if key != name
                    },
                    "ledger": diagnostics.ledger(map(_ledger, trials)),
                    "trials_reached": sum(self._is_reached(one) for one in trials),
                    "trials_run": len(trials),
                    "statuses": dict(sorted(statuses.items())),
                }
            )
        return entries

    def _left_out(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Scores and ranks without each base workload and without each submission."""
        scorer, times = self._scorer, self._table.times
        names = [scorer.workloads[column] for column in scorer.base]
        by_workload: dict[str, Any] = {}
        if len(names) > 1:
            rows = statistics.leave_one_workload_out(times, scorer.score_columns, scorer.base)
            by_workload = {
                name: (row.tolist(), statistics.competition_ranks(row).tolist())
                for name, row in zip(names, rows, strict=True)
            }
        by_submission: dict[str, Any] = {}
        if len(times) > 1:
            rows = statistics.leave_one_submission_out(times, scorer.scores)
            by_submission = {
                name: (row.tolist(), statistics.competition_ranks(row).tolist())
                for name, row in zip(self._scores.submissions, rows, strict=True)
            }
        return by_workload, by_submission

    def _speedups(self) -> list[float] | None:
        if self._options.reference is None:
            return None
        base = list(self._scorer.base)
        times = self._table.times[:, base]
        budgets = [self._workloads[column]["budget_sec"] or math.nan for column in base]
        reference = self._scores.submissions.index(self._options.reference)
        finite = np.where(np.isnan(times), math.inf, times)
        return statistics.speedups(finite, reference, np.array(budgets)).tolist()

    def _bootstrap(self) -> tuple[list[Any], list[Any], list[Any]] | None:
        options = self._options
        if options.bootstrap < 1:
            return None
        found = statistics.bootstrap(
            self._table.study_times,
            self._scorer.scores,
            samples=options.bootstrap,
            seed=options.seed,
        )
        return (
            found.score_interval(LEVEL).tolist(),
            found.rank_interval(LEVEL).tolist(),
            found.rank_probabilities().tolist(),
        )

    def _is_reached(self, one: TrialResult) -> bool:
        time = one.time if self._options.rules.fastest else one.published_time
        return time < math.inf

    def _results(self) -> Iterator[dict[str, Any]]:
        scorer, readings = self._scorer, self._scores.readings
        credits = scorer.credits(self._ratios)
        reasons = scorer.reasons(self._table.times)
        base = {column: index for index, column in enumerate(scorer.base)}
        runs: dict[tuple[str, str], list[Any]] = collections.defaultdict(list)
        for (submission, workload, _), study in self._table.studies.items():
            runs[submission, workload].append(study)
        for row in self._order:
            submission = self._scores.submissions[row]
            for column, workload in enumerate(scorer.workloads):
                trials = self._trials.get((submission, workload), [])
                studies, pace = (
                    runs[submission, workload],
                    readings.paces.get((submission, workload)),
                )
                time = _finite(self._table.times[row, column])
                ratio = self._ratios[row, base[column]] if column in base else math.nan
                yield {
                    "submission": submission,
                    "workload": workload,
                    "framework": _framework(trials),
                    "time": time,
                    "ratio": _finite(ratio),
                    "credit": float(credits[row, base[column]]) if column in base else 0.0,
                    "filtered": reasons.get((row, column)) if time is not None else None,
                    "studies_reached": sum(one.time < math.inf for one in studies),
                    "studies_run": len(studies),
                    "trials_reached": sum(one.num_reached for one in studies),
                    "trials_run": sum(one.num_run for one in studies),
                    "time_resolution": pace and diagnostics.time_resolution(pace.eval_period, time),
                    "step_time": pace and pace.step_time,
                    "first_step_sec": pace and pace.first_step,
                }

    def _studies(self) -> list[dict[str, Any]]:
        return [
            {
                "submission": submission,
                "workload": workload,
                "study": name,
                "time": _finite(study.time),
                "trial": study.trial,
                "trials_reached": study.num_reached,
                "trials_run": study.num_run,
            }
            for (submission, workload, name), study in self._table.studies.items()
        ]

    def _counted_trials(self) -> Iterator[TrialResult]:
        for key in sorted(self._trials):
            yield from self._trials[key]

    def _profiles(self) -> dict[str, Any]:
        taus = profiles.profile_steps(self._ratios)
        shares = profiles.performance_profile(self._ratios, taus).tolist()
        return {
            "tau": taus.tolist(),
            "share": {self._scores.submissions[row]: shares[row] for row in self._order},
        }


def _trial(one: TrialResult) -> dict[str, Any]:
    trial = one.trial
    steps = _finite(one.steps)
    return {
        "submission": trial.submission,
        "workload": trial.workload,
        "framework": trial.framework,
        "study": trial.study,
        "trial": trial.number,
        "path": trial.path,
        "status": one.status,
        "message": one.message,
        "time": _finite(one.time),
        "steps": None if steps is None else int(steps),
        "best": _finite(one.best),
        "seconds": _finite(one.seconds),
        "hyperparameters": one.hyperparameters and _plain(one.hyperparameters),
        "log_sha256": one.sha256,
    }


def _ledger(one: TrialResult) -> dict[str, float | None]:
    return {
        "submission": one.seconds,
        "evaluation": one.evaluation,
        "record_keeping": one.record_keeping,
        "setup": one.setup,
    }


def _framework(trials: Iterable[TrialResult]) -> str | None:
    found = {one.trial.framework for one in trials if one.has_log} or {
        one.trial.framework for one in trials
    }
    return found.pop() if len(found) == 1 else None


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(value: Any, depth: int = 0) -> Any:
    """A value from a JSON file without NaN, infinity or bottomless nesting."""
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, dict):
        return {key: _plain(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, depth + 1) for one in value]
    return value
