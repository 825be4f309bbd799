"""Whether a trial ran by the project's own rules: targets, budgets, hyperparameters, devices."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finishline.auditing.record import Record
from finishline.benchmark import NEWEST
from finishline.errors import UserError
from finishline.records import META_FILE
from finishline.seeds import tuning_seed
from finishline.submission import SubmissionFile
from finishline.trial import TrialConfig
from finishline.tuning import SearchSpace
from finishline.workload import WorkloadDefinition
from scoring.checks.findings import Finding, quoted, warning

# What the rules say of a trial, by its name in the record.
_RULES = (
    "target",
    "max_allowed_runtime_sec",
    "eval_period_time_sec",
    "step_hint",
    "dropout_rate",
    "model",
    "quirks",
    "matmul_precision",
)
_RULES_REMEDY = "do not compare its result with others: run the trial again"


def expected_start(record: Record, definition: WorkloadDefinition) -> dict[str, Any]:
    """What the trial would record today: the same trial described by this checkout."""
    start, submission = record.start, record.submission()
    if submission is None:
        path = Path(start["submission_path"])
        name, source_hash = start["submission"], start["source_hash"]
        submission = SubmissionFile(path, name, record.framework, None, source_hash)
    config = TrialConfig(
        workload=definition,
        submission=submission,
        tuning_ruleset=start["tuning_ruleset"],
        study=start["study"],
        trial=start["trial"],
        hyperparameters=start["hyperparameters"],
        root_seed=start["root_seed"],
        data_dir=Path(start["data_dir"]),
        run_dir=record.run.path,
        num_devices=start["num_devices"],
        compat=False,  # what the layer would supply is not compared, and needs the source
        benchmark_version=start.get("benchmark_version", NEWEST),
        hardware=start.get("hardware"),
    )
    return json.loads(json.dumps(config.describe(), default=str))


def check_rules(record: Record, expected: Mapping[str, Any]) -> Iterator[Finding]:
    """Differences between what a trial recorded of its rules and this checkout's own."""
    path = record.run.path / META_FILE
    for name in _RULES:
        if name in record.start and not _equal(record.start[name], expected[name]):
            problem = (
                f"{name} is {quoted(record.start[name])}, but this project's is "
                f"{quoted(expected[name])}"
            )
            kind = "target" if name == "target" else "rules"
            yield Finding(kind, path, problem, _RULES_REMEDY)
    if record.start["max_global_steps"] is not None:
        problem = f"it was limited to {record.start['max_global_steps']:,} steps"
        yield warning("rules", path, problem, "a ranked trial ends by its budget")
    if not record.start["stop_at_target"]:
        yield warning("rules", path, "it went on after the target", "do not rank it")


def check_hyperparameters(record: Record) -> Iterator[Finding]:
    """Whether the hyperparameters are those that are drawn for this trial."""
    start, meta = record.start, record.run.path / META_FILE
    if start["tuning_ruleset"] == "self":
        if start["hyperparameters"] is not None:
            problem = f"it tuned itself, but has hyperparameters {quoted(start['hyperparameters'])}"
            yield Finding("hyperparameters", meta, problem, _RULES_REMEDY)
        return
    path = _search_space(record)
    if path is None or not path.is_file():
        problem = f"its search space {path or ''} is not there, so no points can be drawn again"
        remedy = "audit it where the submission is"
        yield warning("hyperparameters", meta, " ".join(problem.split()), remedy)
        return
    seed = tuning_seed(start["root_seed"], start["submission"], start["workload"], start["study"])
    try:
        drawn: Any = SearchSpace.load(path).points(start["trial"], seed)[-1]
    except UserError as error:
        problem = str(error).removesuffix(".")
        yield Finding("hyperparameters", meta, problem, "restore the search space")
        return
    if not _equal(drawn, start["hyperparameters"]):
        problem = f"they are {quoted(start['hyperparameters'])}, but {quoted(drawn)} are drawn"
        yield Finding("hyperparameters", meta, f"{problem} from {path}", _RULES_REMEDY)


def _search_space(record: Record) -> Path | None:
    if record.start.get("tuning_search_space"):
        return Path(record.start["tuning_search_space"])
    submission = record.submission()
    return submission.search_space_path if submission else None


def _equal(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal; NaN is equal to itself."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
