"""Which target each workload is scored against."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from finishline.errors import UserError
from finishline.workload import Target, all_workloads

# Direction of the metrics of AlgoPerf, whose targets files do not tell it.
_MINIMIZED = {"ce_loss", "ctc_loss", "error_rate", "l1_loss", "loss", "ppl", "wer"}
_MAXIMIZED = {"accuracy", "bleu", "mean_average_precision", "ssim"}


@dataclasses.dataclass(frozen=True)
class TargetsFile:
    """A file of targets.

    Attributes:
      targets: the target of each workload.
      base_workloads: the workloads that the score is the mean over.
      held_out_workloads: the workloads of the file that the score leaves out.
    """

    targets: dict[str, Target]
    base_workloads: tuple[str, ...]
    held_out_workloads: tuple[str, ...]


def load_targets_file(path: Path) -> TargetsFile:
    """Reads a targets file in AlgoPerf's format.

    The file is a JSON object: ``workloads`` has, by workload, ``target_metric_name``,
    ``validation_target_value`` and, for a metric that AlgoPerf does not have, ``minimize``;
    ``base_workloads`` lists the scored ones (default: all but ``held_out_workloads``).

    Raises:
      UserError: the file is missing or has another format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        targets = {name: _target(entry) for name, entry in content["workloads"].items()}
        held_out = tuple(content.get("held_out_workloads", ()))
        base = tuple(
            content.get("base_workloads", (name for name in targets if name not in held_out))
        )
    except OSError as error:
        raise UserError(
            f"The targets file {path} cannot be read ({error.strerror}); check --workload_targets."
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"The targets file {path} is not in AlgoPerf's format ({type(error).__name__}: {error})"
            "; see scoring/targets.py for the names it needs."
        ) from error
    missing = sorted(set(base) - set(targets))
    if missing or not base:
        raise UserError(
            f"The targets file {path} has base workloads without a target ({', '.join(missing)})"
            " or none at all; add them to 'workloads'."
        )
    return TargetsFile(targets, base, held_out)


def _target(entry: Mapping[str, Any]) -> Target:
    metric = entry["target_metric_name"]
    minimize = entry.get("minimize", metric in _MINIMIZED)
    if "minimize" not in entry and metric not in _MINIMIZED | _MAXIMIZED:
        raise ValueError(f"the metric {metric!r} needs a field 'minimize'")
    value = float(entry["validation_target_value"])
    if not math.isfinite(value):
        raise ValueError(f"the target {value} is not finite")
    return Target(metric=metric, minimize=minimize, validation=value, test=math.nan)


def resolve_target(
    workload: str, recorded: Iterable[Target], given: Mapping[str, Target] | None
) -> Target:
    """The target that all trials of a workload are scored against.

    Args:
      workload: name of the workload.
      recorded: the targets that its trials ran against, as their logs tell.
      given: targets that go before the recorded ones; then there is no other source.

    Raises:
      UserError: there is no target, or the trials ran against different ones.
    """
    if given is not None:
        if workload in given:
            return given[workload]
        raise UserError(
            f"There is no target for the workload {workload!r} among the given ones"
            f" ({', '.join(sorted(given))}); add it, or take its logs away."
        )
    races = {race(target): target for target in recorded}
    if len(races) > 1:
        described = " and ".join(sorted(map(describe, races.values())))
        raise UserError(
            f"Trials of the workload {workload!r} ran against different targets ({described});"
            " choose one with --workload_targets."
        )
    if races:
        return races.popitem()[1]
    if workload in all_workloads():
        return all_workloads()[workload].target
    raise UserError(
        f"There is no target for the workload {workload!r}: neither its logs nor this project have"
        " one; pass a file with --workload_targets."
    )


def describe(target: Target) -> str:
    """A target in words, such as ``accuracy >= 0.97``."""
    return f"{target.metric} {'<=' if target.minimize else '>='} {target.validation}"


def race(target: Target) -> tuple[str, bool, float]:
    """What of a target stops the clock; two targets with the same are the same race."""
    return (target.metric, target.minimize, target.validation)
