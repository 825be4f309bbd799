"""Sets the targets of a workload as AlgoPerf sets its own, and writes down how they came about.

Each submission runs with each point of its search space for a fraction of ``step_hint`` steps, with
its schedule made for so many: a submission in a competition has more time than these runs. The pair
with the best validation metric runs again with other seeds. The validation target is the median of
the best values of these runs; the test target is the worst test metric, at the moment the
validation target is reached, of the runs that reach it (Dahl et al.,
2023, arXiv:2306.07179, section 4.2).

Example:
  python -m finishline.target_setting --workload=digits --output=docs/targets/digits.md
"""

import dataclasses
import statistics
from pathlib import Path
from typing import Any

from absl import flags

from finishline import commandline
from finishline.submission import REFERENCE_SUBMISSIONS
from finishline.workload import Target, WorkloadDefinition, find_workload

flags.DEFINE_string("workload", None, "Workload whose targets to set.", required=True)
flags.DEFINE_enum("framework", "jax", ["jax", "pytorch"], "Framework to run in.")
flags.DEFINE_list(
    "submissions", ["nadamw", "momentum", "schedule_free_adamw"], "Reference submissions."
)
flags.DEFINE_float("fraction", 0.75, "Length of a run as a fraction of step_hint.", 0.01, 1.0)
flags.DEFINE_integer("num_reruns", 5, "Runs of the best pair with other seeds.", lower_bound=1)
flags.DEFINE_string("data_dir", "data", "Where the data sets are.")
flags.DEFINE_string("experiment_dir", "experiments", "Where the runs are recorded.")
flags.DEFINE_string("output", None, "Markdown file for the record.")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of ``step_hint`` steps.

    Attributes:
      submission: its name.
      point: index of the point in the drawn order, from 0.
      hyperparameters: the point.
      best: best validation value.
      evaluations: (seconds, validation value, test value) of each evaluation.
    """

    submission: str
    point: int
    hyperparameters: Any
    best: float
    evaluations: tuple[tuple[float, float, float], ...]


def main(argv: list[str]) -> int:
    """Runs the procedure; returns 0."""
    del argv
    values = flags.FLAGS
    target = find_workload(values.workload).target
    pick = min if target.minimize else max
    first = [
        run
        for submission in values.submissions
        for run in _run(submission, values.workload, values.framework, seed=0)
    ]
    best = pick(first, key=lambda run: run.best)
    reruns = [
        _run(best.submission, values.workload, values.framework, seed=0, study=k, point=best)[0]
        for k in range(1, values.num_reruns + 1)
    ]
    report = _report(values.workload, values.framework, target, first, best, reruns)
    print(report)
    if values.output:
        Path(values.output).parent.mkdir(parents=True, exist_ok=True)
        Path(values.output).write_text(report)
    return 0


def _run(
    submission: str,
    workload: str,
    framework: str,
    *,
    seed: int,
    study: int = 0,
    point: Run | None = None,
) -> list[Run]:
    """All points of ``submission``, or in study ``study`` the one ``point``."""
    from finishline.display import PlainDisplay
    from finishline.records import RunDirectory
    from finishline.referee import Referee
    from finishline.study import StudyConfig, evaluator_factory, plan_study

    config = StudyConfig(
        submission_path=str(REFERENCE_SUBMISSIONS / submission.removesuffix(f"_{framework}")),
        framework=framework,
        workload=workload,
        study=study,
        rng_seed=seed,
        data_dir=Path(flags.FLAGS.data_dir),
        experiment_dir=Path(flags.FLAGS.experiment_dir),
        experiment_name=f"target_setting_{workload}",
        overwrite=True,
        save_checkpoints=False,
    )
    trials = [_shorten(trial) for trial in plan_study(config)]
    if point is not None:
        trials = [dataclasses.replace(trials[0], hyperparameters=point.hyperparameters)]
    create_evaluator = evaluator_factory(trials[0])
    runs = []
    for trial in trials:
        directory = RunDirectory(trial.run_dir, overwrite=True)
        Referee(trial, directory, create_evaluator, PlainDisplay()).run_trial()
        runs.append(_summarise(trial, directory))
        directory.close()
    return runs


def _shorten(trial: Any) -> Any:
    steps = _num_steps(trial.workload)
    return dataclasses.replace(
        trial,
        workload=trial.workload.variant(trial.workload.name, step_hint=steps),
        max_global_steps=steps,
        stop_at_target=False,
    )


def _num_steps(workload: WorkloadDefinition) -> int:
    return max(1, round(flags.FLAGS.fraction * workload.step_hint))


def _summarise(trial: Any, directory: Any) -> Run:
    target: Target = trial.workload.target
    evaluations = tuple(
        (
            event["ledger"]["submission"],
            event["metrics"][f"validation/{target.metric}"],
            event["metrics"][f"test/{target.metric}"],
        )
        for event in directory.evaluations()
    )
    worst = float("inf") if target.minimize else float("-inf")
    values = [value for _, value, _ in evaluations if abs(value) < float("inf")] or [worst]
    return Run(
        submission=trial.submission.name,
        point=trial.trial - 1,
        hyperparameters=trial.hyperparameters,
        best=min(values) if target.minimize else max(values),
        evaluations=evaluations,
    )


def _report(
    workload: str, framework: str, target: Target, first: list[Run], best: Run, reruns: list[Run]
) -> str:
    """The record as Markdown."""
    validation = statistics.median_low([run.best for run in reruns])
    if target.minimize:
        validation = statistics.median_high([run.best for run in reruns])
    hits = [hit for run in reruns if (hit := _first_hit(run, target, validation))]
    worst_of = max if target.minimize else min
    lines = [
        f"# Targets of `{workload}`",
        "",
        f"Made by `python -m finishline.target_setting --workload={workload} "
        f"--framework={framework} --fraction={flags.FLAGS.fraction}`: "
        f"{_num_steps(find_workload(workload))} steps a run.",
        "",
        f"| submission | point | hyperparameters | best validation {target.metric} | after (s) |",
        "| :-- | --: | :-- | --: | --: |",
        *[_row(run) for run in first],
        "",
        f"The best, `{best.submission}` at point {best.point}, with other seeds:",
        "",
        f"| seed | best validation {target.metric} | after (s) | target reached after (s) "
        f"| test {target.metric} then |",
        "| --: | --: | --: | --: | --: |",
        *[_rerun_row(k, run, target, validation) for k, run in enumerate(reruns, start=1)],
        "",
        f"- validation target: **{validation:.6g}**, the median of the best values",
        f"- test target: **{worst_of(test for _, test in hits):.6g}**, the worst test value of the "
        f"{len(hits)} runs that reach it",
        f"- median time to the target: {statistics.median(seconds for seconds, _ in hits):.1f} s",
        "",
    ]
    return "\n".join(lines)


def _row(run: Run) -> str:
    return (
        f"| {run.submission} | {run.point} | `{run.hyperparameters}` | {run.best:.6g} "
        f"| {_time_of_best(run):.1f} |"
    )


def _rerun_row(number: int, run: Run, target: Target, validation: float) -> str:
    seconds, test = _first_hit(run, target, validation) or (float("inf"), float("nan"))
    return f"| {number} | {run.best:.6g} | {_time_of_best(run):.1f} | {seconds:.1f} | {test:.6g} |"


def _time_of_best(run: Run) -> float:
    return next((s for s, value, _ in run.evaluations if value == run.best), float("inf"))


def _first_hit(run: Run, target: Target, validation: float) -> tuple[float, float] | None:
    """(seconds, test value) of the first evaluation that meets ``validation``."""
    wanted = dataclasses.replace(target, validation=validation)
    return next(((s, test) for s, value, test in run.evaluations if wanted.is_met(value)), None)


if __name__ == "__main__":
    commandline.run(main)
