"""Running a trial once more with the same seeds, and comparing the two."""

import dataclasses
import itertools
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from finishline.auditing.process import run_module
from finishline.auditing.record import Record, read_record
from finishline.auditing.scores import largest_difference
from finishline.calibration import DEFAULT_MAX_DRIFT
from finishline.clock import Account
from finishline.errors import UserError
from finishline.executors import Executor, LocalExecutor
from finishline.records import Event
from finishline.study import StudyConfig, plan_study
from scoring.checks.findings import Finding, warning
from scoring.runs import Run

# What both must have in common before the same numbers are expected.
_MACHINE = ("processor", "cores", "gpus")


@dataclasses.dataclass(frozen=True)
class Rerun:
    """A trial beside its repetition.

    Attributes:
      path: the run directory of the repetition.
      has_met_target: whether it met the target.
      steps: the steps at which both were evaluated.
      difference: the largest relative difference of metrics at these steps; None without any.
      seconds: the results of the two: submission time to the target, or in all.
      expected_sec: by how much the two times may differ; None if nothing tells.
      expected_from: where that comes from.
    """

    path: Path
    has_met_target: bool
    steps: tuple[int, ...]
    difference: float | None
    seconds: tuple[float, float]
    expected_sec: float | None
    expected_from: str


def repeat(record: Record, experiment: Path, data_dir: Path) -> Record:
    """Runs the trial again below the folder ``experiment``, as its record says that it ran.

    On CPUs it goes on to the step at which the trial met its target, and ends with an evaluation
    there, so that there is a step at which the metrics are to be the same.

    Raises:
      UserError: the submission, its search space or the data are not there, or the run has left no
        record.
    """
    study = _study(record, experiment, data_dir)
    trial = plan_study(study)[-1]
    fields = dataclasses.asdict(dataclasses.replace(study, executor=LocalExecutor()))
    request = {
        "study": {name: value for name, value in fields.items() if name != "executor"},
        "executor": {name: record.start.get(name) for name in ("executor", "docker")},
        "last_step": _last_step(record),
    }
    process = run_module("finishline.auditing.repetition", [json.dumps(request, default=str)])
    repeated = read_record(Run(trial.run_dir, record.run.names))
    if repeated is None or repeated.end is None:
        raise UserError(
            f"it left no whole record in {trial.run_dir}; its last output: {process.stdout[-500:]}"
        )
    return repeated


def _study(record: Record, experiment: Path, data_dir: Path) -> StudyConfig:
    start = record.start
    return StudyConfig(
        submission_path=start["submission_path"],
        framework=record.framework,
        workload=start["workload"],
        tuning_ruleset=start["tuning_ruleset"],
        tuning_search_space=start.get("tuning_search_space"),
        num_tuning_trials=start["trial"],
        hparam_start_index=start["trial"] - 1,
        study=start["study"],
        rng_seed=start["root_seed"],
        data_dir=data_dir,
        experiment_dir=experiment.parent,
        experiment_name=experiment.name,
        num_devices=start["num_devices"],
        max_global_steps=start["max_global_steps"],
        save_checkpoints=start["save_checkpoints"],
        torch_compile=start["torch_compile"],
        shard_embeddings=start.get("shard_embeddings", False),
        compat=start.get("compat", True),
        benchmark_version=start.get("benchmark_version"),
        hardware=start.get("hardware"),
        executor=executor_of(start),
        on_drift=start.get("on_drift"),
        max_drift=start.get("max_drift", DEFAULT_MAX_DRIFT),
    )


def executor_of(recorded: Mapping[str, Any]) -> Executor:
    """What starts the workers, by what ``Executor.describe`` has recorded."""
    if recorded.get("executor") != "docker":
        return LocalExecutor()
    from finishline.containers.executor import DockerExecutor
    from finishline.containers.limits import Limits

    limits = dict(recorded["docker"]["limits"])
    if limits["gpus"] is not None:
        limits["gpus"] = tuple(limits["gpus"])
    return DockerExecutor(recorded["docker"]["image"], Limits(**limits))


def _last_step(record: Record) -> int | None:
    """Where the repetition is to end; None is where the trial itself would."""
    decisive = record.decisive
    if not record.has_reached_target or decisive is None or record.start["machine"]["gpus"]:
        return None
    return decisive["step"]


def compare_runs(record: Record, repeated: Record, *, time_tolerance: float | None) -> Rerun:
    """The two runs side by side.

    Args:
      record: the trial.
      repeated: its repetition.
      time_tolerance: the relative difference of their times that is expected; None is what the
        trial itself tells, see ``expected_seconds``.
    """
    told = {event["step"]: event["metrics"] for event in record.measured}
    found = {event["step"]: event["metrics"] for event in repeated.measured}
    steps = tuple(sorted(told.keys() & found.keys()))
    gaps = [largest_difference(told[step], found[step]) for step in steps]
    expected, source = expected_seconds(record, repeated, time_tolerance)
    return Rerun(
        path=repeated.run.path,
        has_met_target=_has_met(repeated),
        steps=steps,
        difference=max(gaps, default=None),
        seconds=(_seconds(record), _seconds(repeated)),
        expected_sec=expected,
        expected_from=source,
    )


def _has_met(record: Record) -> bool:
    return record.decisive is not None and record.decisive["target_is_met"]


def _seconds(record: Record) -> float:
    """Submission time to the target; of a trial that has missed it, in all."""
    event = record.decisive if _has_met(record) else record.end
    assert event is not None  # only ended trials are compared
    return event["ledger"][Account.SUBMISSION.value]


def expected_seconds(
    record: Record, repeated: Record, time_tolerance: float | None
) -> tuple[float | None, str]:
    """By how many seconds the times of the two may differ, and where that comes from.

    The target is met somewhere between two evaluations, so a time to it is known up to the longest
    interval between evaluations. To this comes the noise of the machine: ``time_tolerance``, or
    else how much the seconds a step varied within the trial, (largest - smallest) / median over the
    intervals between its evaluations.
    """
    resolution = max((*_intervals(record.measured), *_intervals(repeated.measured)), default=0.0)
    if time_tolerance is not None:
        noise, source = time_tolerance, f"--time_tolerance={time_tolerance:g}"
    else:
        paces = list(_step_times(record.measured))
        if len(paces) < 2:
            return None, "the trial has too few evaluations to tell; give --time_tolerance"
        noise = (max(paces) - min(paces)) / statistics.median(paces)
        source = f"seconds a step varied by {noise:.0%} within the trial"
    seconds = resolution + noise * _seconds(record)
    return seconds, f"{source}; evaluations up to {resolution:.2f} s apart"


def _intervals(measured: Sequence[Event]) -> Iterator[float]:
    times = [event["ledger"][Account.SUBMISSION.value] for event in measured]
    yield from (after - before for before, after in itertools.pairwise(times))


def _step_times(measured: Sequence[Event]) -> Iterator[float]:
    steps = [event["step"] for event in measured]
    for seconds, (before, after) in zip(
        _intervals(measured), itertools.pairwise(steps), strict=True
    ):
        if after > before:
            yield seconds / (after - before)


def check_rerun(
    record: Record, repeated: Record, rerun: Rerun, *, tolerance: float
) -> Iterator[Finding]:
    """What speaks against a trial in its repetition.

    Args:
      record: the trial.
      repeated: its repetition.
      rerun: the comparison of the two.
      tolerance: relative, for the metrics of one snapshot.
    """
    path = record.run.path
    if rerun.has_met_target != _has_met(record):
        words = ("missed", "met")
        problem = (
            f"it {words[_has_met(record)]} the target, its rerun {words[rerun.has_met_target]} it"
        )
        severe = Finding if _has_met(record) else warning
        yield severe("rerun", path, problem, "see the rerun's record, which --rerun_dir keeps")
    is_off = rerun.difference is not None and rerun.difference > tolerance
    if is_off and _is_exact(record, repeated):
        problem = (
            f"at the same steps the metrics of the rerun differ by up to {rerun.difference:.2g}, "
            "although it had the same seeds, processor and versions, and no GPU"
        )
        remedy = "look for what the submission does not derive from its seed"
        yield warning("rerun", path, problem, remedy)
    before, after = rerun.seconds
    if rerun.expected_sec is not None and abs(after - before) > rerun.expected_sec:
        problem = (
            f"it took {before:.2f} s, its rerun {after:.2f} s; up to {rerun.expected_sec:.2f} s of "
            f"difference were expected ({rerun.expected_from})"
        )
        remedy = "compare on the same quiet machine, or give --time_tolerance"
        yield warning("rerun", path, problem, remedy)


def _is_exact(record: Record, repeated: Record) -> bool:
    """Whether the same numbers are to be expected: same machine and versions, and no GPU."""
    one, other = record.start, repeated.start
    is_same = all(one["machine"][name] == other["machine"][name] for name in _MACHINE)
    return is_same and one["versions"] == other["versions"] and not one["machine"]["gpus"]
