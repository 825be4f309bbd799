"""Reads the logs of all trials one after the other and keeps what the tables need."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from finishline.workload import Target
from scoring import diagnostics
from scoring.cache import Cache
from scoring.evaluations import Evaluations, LogError
from scoring.logs import (
    EVALUATIONS_FILE,
    HPARAMS_FILE,
    META_FILE,
    Meta,
    Problem,
    Trial,
    read_bytes,
    read_json,
    read_meta,
)
from scoring.times import TrialResult, judge_trial

# Of several violations of a trial, all are listed and the first is its message.
Violations = list[tuple[str, str]]  # rule, reason
Check = Callable[[Trial, Meta | None, Evaluations | None], Violations]
Curve = tuple[np.ndarray, np.ndarray, np.ndarray]  # time, step, value


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """How fast a submission went on a workload, over all its trials; None if unknown.

    Attributes:
      step_time: 10th percentile, median and 90th percentile of the seconds a step.
      first_step: median seconds of the first step, with the compilation in it.
      eval_period: median seconds of submission time between two evaluations.
    """

    step_time: dict[str, float] | None
    first_step: float | None
    eval_period: float | None


@dataclasses.dataclass(slots=True)
class Readings:
    """What the logs say.

    Attributes:
      results: of all trials, by (submission, workload), in the order of their names.
      paces: by (submission, workload).
      problems: what is wrong with the logs.
      violations: path, rule and reason of each rule that a trial broke.
      curves: of each trial with a log, by its path; empty if not asked for.
    """

    results: dict[tuple[str, str], list[TrialResult]] = dataclasses.field(default_factory=dict)
    paces: dict[tuple[str, str], Pace] = dataclasses.field(default_factory=dict)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    violations: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)
    curves: dict[str, Curve] = dataclasses.field(default_factory=dict)


def read_metas(root: Path, trials: Iterable[Trial], problems: list[Problem]) -> dict[str, Meta]:
    """The ``meta.json`` of each trial that has one, by the trial's path."""
    metas = {}
    for trial in trials:
        try:
            meta = read_meta(f"{root}/{trial.path}")
        except LogError as error:
            problems.append(Problem(f"{trial.path}/{META_FILE}", str(error)))
            continue
        if meta is not None:
            metas[trial.path] = meta
    return metas


def read_trials(
    root: Path,
    trials: Iterable[Trial],
    metas: Mapping[str, Meta],
    targets: Mapping[str, Target],
    *,
    cache: Cache,
    check: Check | None = None,
    keep_curves: bool = False,
) -> Readings:
    """Reads the evaluations of ``trials``; at any time those of one workload are in memory.

    Args:
      check: finds the rules that a trial broke, which then has not reached the target.
    """
    readings = Readings()
    reader = _Reader(root, metas, cache, check, keep_curves, readings)
    groups = itertools.groupby(
        sorted(trials, key=lambda one: (one.submission, one.workload)),
        key=lambda one: (one.submission, one.workload),
    )
    for key, group in groups:
        if key[1] in targets:
            reader.read_group(key, group, targets[key[1]])
    return readings


class _Reader:
    def __init__(
        self,
        root: Path,
        metas: Mapping[str, Meta],
        cache: Cache,
        check: Check | None,
        keep_curves: bool,
        readings: Readings,
    ):
        self._root = str(root)
        self._metas = metas
        self._cache = cache
        self._check = check
        self._keep_curves = keep_curves
        self._readings = readings

    def read_group(self, key: tuple[str, str], trials: Iterable[Trial], target: Target) -> None:
        logs: list[Evaluations] = []
        results = [self._read(trial, target, logs) for trial in trials]
        frameworks = {one.trial.framework for one in results if one.has_log}
        if len(frameworks) > 1:
            reason = (
                f"has logs of {key[1]} in both {' and '.join(sorted(frameworks))}, so none of them"
                " counts; give each framework a directory of its own"
            )
            self._readings.problems.append(Problem(key[0], reason))
            results = [one.excluded("ambiguous", reason) for one in results]
        self._readings.results[key] = results
        self._readings.paces[key] = _pace(logs)

    def _read(self, trial: Trial, target: Target, logs: list[Evaluations]) -> TrialResult:
        meta = self._metas.get(trial.path)
        log, sha256 = self._evaluations(trial, target.metric)
        result, problems = judge_trial(
            trial,
            meta,
            log,
            target,
            hyperparameters=self._hyperparameters(trial, meta),
            sha256=sha256,
        )
        self._readings.problems.extend(problems)
        self._readings.problems.extend(_drift(trial, meta))
        evaluations = log if isinstance(log, Evaluations) else None
        violations = self._check(trial, meta, evaluations) if self._check else []
        if violations:
            self._readings.violations += [(trial.path, *one) for one in violations]
            result = result.excluded("rule_violation", violations[0][1])
        if evaluations is not None and len(evaluations):
            logs.append(evaluations)
            if self._keep_curves:
                self._readings.curves[trial.path] = (
                    evaluations.time,
                    evaluations.step,
                    evaluations.value,
                )
        return result

    def _evaluations(
        self, trial: Trial, metric: str
    ) -> tuple[Evaluations | LogError | None, str | None]:
        try:
            data = read_bytes(f"{self._root}/{trial.path}/{EVALUATIONS_FILE}")
            if data is None:
                return None, None
            table, sha256 = self._cache.table(data, metric)
        except LogError as error:
            return error, None
        return Evaluations.from_table(table), sha256

    def _hyperparameters(self, trial: Trial, meta: Meta | None) -> dict[str, Any] | None:
        if meta is not None and "hyperparameters" in meta.content:
            found = meta.content["hyperparameters"]
            return found if isinstance(found, dict) else None
        try:
            return read_json(f"{self._root}/{trial.path}/{HPARAMS_FILE}")
        except LogError as error:
            path = f"{trial.path}/{HPARAMS_FILE}"
            self._readings.problems.append(Problem(path, str(error)))
            return None


def _drift(trial: Trial, meta: Meta | None) -> Iterator[Problem]:
    """That the machine's speed changed during the trial by more than it was to put up with."""
    found: Any = meta.content if meta else None
    for name in ("calibration", "after"):
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, dict) or found.get("is_exceeded") is not True:
        return
    drift = found.get("drift")
    share = drift.get("share") if isinstance(drift, dict) else None
    amount = f"{share:+.1%} time for the same work" if isinstance(share, float) else "unknown"
    yield Problem(trial.path, f"was run on a machine whose speed changed meanwhile: {amount}")


def _pace(logs: list[Evaluations]) -> Pace:
    if not logs:
        return Pace(None, None, None)
    # NaN between two trials: what lies on both sides of it is no interval.
    gap = np.array([math.nan])
    time = np.concatenate([part for log in logs for part in (log.time, gap)])
    step = np.concatenate([part for log in logs for part in (log.step, gap)])
    first = [
        seconds
        for log in logs
        if (seconds := diagnostics.first_step_seconds(log.time, log.step)) is not None
    ]
    return Pace(
        step_time=diagnostics.band(diagnostics.seconds_per_step(time, step)),
        first_step=float(np.median(first)) if first else None,
        eval_period=diagnostics.evaluation_period(time),
    )
