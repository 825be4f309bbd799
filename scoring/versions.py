"""The versions of AlgoPerf's benchmark: workloads, targets, budgets and numbers of runs.

They ship with ``finishline.benchmark``. A file of one's own needs less than those have; see
``load_benchmark``.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finishline.benchmark import VERSIONS, Hardware, bases, load_version, targets
from finishline.errors import UserError
from finishline.workload import Target

RULESETS = ("external", "self")

# Direction of the metrics of AlgoPerf, whose own files do not tell it.
_MINIMIZED = {"ce_loss", "ctc_loss", "error_rate", "l1_loss", "loss", "ppl", "wer"}
_MAXIMIZED = {"accuracy", "bleu", "mean_average_precision", "ssim"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is scored. All but the workloads and their targets may be unknown.

    Attributes:
      version: the version of the benchmark.
      targets: the target of each workload.
      base_workloads: the workloads that the score is the mean over.
      held_out: the base workload of each held-out workload.
      num_studies: studies of a submission on each workload.
      num_trials: trials of a study, by tuning ruleset.
      self_tuning_factor: what the self-tuning ruleset multiplies budgets by.
      hardware: the classes of machines; the first is the usual one.
      budgets: seconds of submission time, by workload and class.
      eval_periods: seconds between evaluations, by workload and class.
      step_hints: training steps, by workload.
    """

    version: str | None = None
    targets: Mapping[str, Target]
    base_workloads: tuple[str, ...]
    held_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    num_studies: int | None = None
    num_trials: Mapping[str, int] = dataclasses.field(default_factory=dict)
    self_tuning_factor: float = 1.0
    hardware: Mapping[str, Hardware] = dataclasses.field(default_factory=dict)
    budgets: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    eval_periods: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    step_hints: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def budget(self, workload: str, ruleset: str, hardware: str | None = None) -> float | None:
        """Seconds of submission time that a trial may take, if known; see ``hardware``."""
        seconds = _of_class(self.budgets.get(workload, {}), hardware)
        return seconds and seconds * (self.self_tuning_factor if ruleset == "self" else 1.0)

    def eval_period(self, workload: str, hardware: str | None = None) -> float | None:
        """Seconds of submission time between two evaluations, if known; see ``hardware``."""
        return _of_class(self.eval_periods.get(workload, {}), hardware)


def _of_class(by_class: Mapping[str, float], hardware: str | None) -> float | None:
    if hardware is not None:
        return by_class.get(hardware)
    return next(iter(by_class.values()), None)


def load_benchmark(version_or_file: str) -> Benchmark:
    """Reads a version that ships with this project, or a file in AlgoPerf's format.

    The file is a JSON object: ``workloads`` has, by workload, ``target_metric_name``,
    ``validation_target_value`` and, for a metric that AlgoPerf does not have, ``minimize``;
    ``base_workloads`` lists the scored ones (default: all but ``held_out_workloads``). It may
    have ``benchmark_version``, ``num_studies``, ``num_trials`` and ``self_tuning_budget_factor``,
    ``hardware`` (as in ``finishline/benchmark/*.toml``), and of a workload ``step_hint`` and, by
    hardware class, ``max_allowed_runtime_sec`` and ``eval_period_time_sec``.

    Raises:
      UserError: the file is missing or has another format.
    """
    if version_or_file in VERSIONS:
        return _of_version(version_or_file)
    where = f"The targets file {version_or_file}"
    try:
        benchmark = _parse(json.loads(Path(version_or_file).read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(
            f"{where} cannot be read ({error.strerror}); give --workload_targets a file or one of"
            f" the versions {', '.join(VERSIONS)}."
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{where} is not in AlgoPerf's format ({type(error).__name__}: {error});"
            " see scoring/versions.py for the names it needs."
        ) from error
    missing = sorted({*benchmark.base_workloads, *benchmark.held_out} - set(benchmark.targets))
    if missing or not benchmark.base_workloads:
        raise UserError(
            f"{where} has base or held-out workloads without a target ({', '.join(missing)})"
            " or no base workload at all; add them to 'workloads'."
        )
    return benchmark


def _of_version(name: str) -> Benchmark:
    version = load_version(name)
    scored = (*version.base_workloads, *version.held_out_workloads)
    listed = tuple(bases()) if version.has_variants else scored
    numbers = {
        one: version.workloads[bases()[one]] for one in listed if bases()[one] in version.workloads
    }
    return Benchmark(
        version=name,
        targets={one: targets()[one] for one in listed},
        base_workloads=version.base_workloads,
        held_out={one: bases()[one] for one in version.held_out_workloads},
        num_studies=version.num_studies,
        num_trials=version.num_trials,
        self_tuning_factor=version.self_tuning_budget_factor,
        hardware=version.hardware,
        budgets={one: of.max_allowed_runtime_sec for one, of in numbers.items()},
        eval_periods={one: of.eval_period_time_sec for one, of in numbers.items()},
        step_hints={one: of.step_hint for one, of in numbers.items()},
    )


def _parse(content: Any) -> Benchmark:
    workloads = content["workloads"]
    listed = _names(content.get("held_out_workloads", []))
    unlisted = [name for name in workloads if name not in listed]
    base = _names(content.get("base_workloads", unlisted))
    version = content.get("benchmark_version")
    return Benchmark(
        version=None if version is None else str(version),
        targets={name: _target(entry) for name, entry in workloads.items()},
        base_workloads=base,
        held_out={name: _base_of(name, base) for name in listed},
        num_studies=_optional_int(content.get("num_studies")),
        num_trials={one: int(number) for one, number in content.get("num_trials", {}).items()},
        self_tuning_factor=float(content.get("self_tuning_budget_factor", 1.0)),
        hardware={name: Hardware(**one) for name, one in content.get("hardware", {}).items()},
        budgets=_by_class(workloads, "max_allowed_runtime_sec"),
        eval_periods=_by_class(workloads, "eval_period_time_sec"),
        step_hints={
            name: int(entry["step_hint"])
            for name, entry in workloads.items()
            if entry.get("step_hint") is not None
        },
    )


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{value!r} is no list of names")
    return tuple(dict.fromkeys(value))


def _optional_int(value: Any) -> int | None:
    return None if value is None else int(value)


def _by_class(workloads: Any, field: str) -> dict[str, dict[str, float]]:
    return {
        name: {one: float(seconds) for one, seconds in entry[field].items()}
        for name, entry in workloads.items()
        if field in entry
    }


def _base_of(held_out: str, base_workloads: tuple[str, ...]) -> str:
    """The base workload whose name the held-out one's begins with, or has in it, as in AlgoPerf."""
    for base in sorted(base_workloads, key=len, reverse=True):
        if held_out.startswith(f"{base}_"):
            return base
    for base in base_workloads:
        if base in held_out:
            return base
    raise ValueError(f"the held-out workload {held_out!r} has no base workload's name in its own")


def _target(entry: Any) -> Target:
    metric = entry["target_metric_name"]
    minimize = entry.get("minimize", metric in _MINIMIZED)
    if "minimize" not in entry and metric not in _MINIMIZED | _MAXIMIZED:
        raise ValueError(f"the metric {metric!r} needs a field 'minimize'")
    if not isinstance(minimize, bool):
        raise ValueError(f"the field 'minimize' is {minimize!r}, not true or false")
    value = float(entry["validation_target_value"])
    if not math.isfinite(value):
        raise ValueError(f"the target {value} is not finite")
    return Target(metric=metric, minimize=minimize, validation=value, test=math.nan)
