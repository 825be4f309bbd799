"""The record of how a workload's targets came about, as Markdown."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from finishline.records import EVENTS_FILE, evaluations, read_events
from finishline.trial import TrialConfig
from finishline.workload import Target, WorkloadDefinition


@dataclasses.dataclass(frozen=True)
class Run:
    """One run that went on after the target.

    Attributes:
      workload: its name.
      submission: its name.
      study: number of its study; others have other seeds.
      point: index of the point in the drawn order, from 0.
      hyperparameters: the point.
      evaluations: (seconds of submission time, validation value, test value) of each evaluation.
    """

    workload: str
    submission: str
    study: int
    point: int
    hyperparameters: Mapping[str, Any] | None
    evaluations: Sequence[tuple[float, float, float]]

    @classmethod
    def read(cls, trial: TrialConfig) -> "Run":
        """The run of ``trial``, from its record."""
        metric = trial.workload.target.metric
        events = (event for _, event in read_events(trial.run_dir / EVENTS_FILE))
        return cls(
            workload=trial.workload.name,
            submission=trial.submission.name,
            study=trial.study,
            point=trial.trial - 1,
            hyperparameters=trial.hyperparameters,
            evaluations=[
                (
                    event["ledger"]["submission"],
                    event["metrics"][f"validation/{metric}"],
                    event["metrics"][f"test/{metric}"],
                )
                for event in evaluations(events)
            ],
        )

    def best(self, target: Target) -> float:
        """The best finite validation value; the worst there is without one."""
        values = [value for _, value, _ in self.evaluations if abs(value) < float("inf")]
        worst = float("inf") if target.minimize else float("-inf")
        return (min if target.minimize else max)(values, default=worst)

    def first_hit(self, target: Target) -> tuple[float, float] | None:
        """(seconds, test value) of the first evaluation that meets ``target``."""
        return next(
            ((s, test) for s, value, test in self.evaluations if target.is_met(value)), None
        )


def set_targets(reruns: Sequence[Run], target: Target) -> Target:
    """The targets that follow from runs of the best point with different seeds.

    The validation target is the median of the best values, of two in the middle the worse. The test
    target is the worst test value, at the moment the validation target is reached, of the runs that
    reach it.
    """
    median = statistics.median_high if target.minimize else statistics.median_low
    validation = median([run.best(target) for run in reruns])
    target = dataclasses.replace(target, validation=validation)
    tests = [hit[1] for run in reruns if (hit := run.first_hit(target))]
    return dataclasses.replace(target, test=(max if target.minimize else min)(tests))


def markdown(
    command: str, workload: WorkloadDefinition, runs: Sequence[Run], reruns: Sequence[Run]
) -> str:
    """The record.

    Args:
      command: what was run.
      workload: with the step hint of the runs.
      runs: of all submissions at all points.
      reruns: of the best of them, with other seeds.
    """
    target = set_targets(reruns, workload.target)
    hits = [hit for run in reruns if (hit := run.first_hit(target))]
    lines = [
        f"# Targets of `{workload.name}`",
        "",
        f"Made by `{command}`: {workload.step_hint:,} steps a run.",
        "",
        f"| submission | point | hyperparameters | best validation {target.metric} | after (s) |",
        "| :-- | --: | :-- | --: | --: |",
        *[_row(run, target) for run in runs],
        "",
        f"The best, `{reruns[0].submission}` with `{reruns[0].hyperparameters}`, with other seeds:",
        "",
        f"| study | best validation {target.metric} | after (s) | target reached after (s) "
        f"| test {target.metric} then |",
        "| --: | --: | --: | --: | --: |",
        *[_rerun_row(run, target) for run in reruns],
        "",
        f"- validation target: **{target.validation:.6g}**, the median of the best values",
        f"- test target: **{target.test:.6g}**, the worst test value of the {len(hits)} runs that "
        "reach it",
        f"- median time to the target: {statistics.median(seconds for seconds, _ in hits):.1f} s",
        "",
    ]
    return "\n".join(lines)


def _row(run: Run, target: Target) -> str:
    return (
        f"| {run.submission} | {run.point} | `{run.hyperparameters}` | {run.best(target):.6g} "
        f"| {_time_of_best(run, target):.1f} |"
    )


def _rerun_row(run: Run, target: Target) -> str:
    seconds, test = run.first_hit(target) or (float("inf"), float("nan"))
    return (
        f"| {run.study} | {run.best(target):.6g} | {_time_of_best(run, target):.1f} "
        f"| {seconds:.1f} | {test:.6g} |"
    )


def _time_of_best(run: Run, target: Target) -> float:
    best = run.best(target)
    return next((s for s, value, _ in run.evaluations if value == best), float("inf"))
