"""How targets, times, sizes and models are written for people."""

import math
from collections.abc import Mapping
from typing import Any

from finishline.data.preparation import format_bytes
from workloads.description import Description


def target(one: Description) -> str:
    """The validation target, such as ``accuracy >= 0.77``."""
    goal = one["target"]
    return f"{goal['metric']} {'<=' if goal['minimize'] else '>='} {goal['validation']:g}"


def test_target(one: Description) -> str:
    """The test target, or "none"."""
    value = one["target"]["test"]
    return "none" if value is None else f"{value:g}"


def duration(seconds: float) -> str:
    """Seconds, and hours where there are some, such as ``8,915 s (2 h 29 min)``."""
    if seconds < 3600:
        return f"{seconds:,g} s"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{seconds:,g} s ({hours} h {rest:02} min)"


def size(dataset: Description) -> str:
    """About what the prepared data take."""
    taken = dataset["disk_bytes"]
    return "size unknown" if taken is None else format_bytes(taken)


def model(config: Mapping[str, Any]) -> str:
    """The arguments of a model, such as ``width=64, stem=cifar``."""
    return ", ".join(f"{name}={value}" for name, value in config.items()) or "-"


def parameters(one: Description) -> str:
    """The number of parameters: one where the frameworks agree, else one each."""
    counts = {name: count for name, count in one["parameters"].items() if count is not None}
    if not counts:
        return "no framework installed"
    if len(set(counts.values())) == 1:
        return f"{next(iter(counts.values())):,}"
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def without_nan(value: Any) -> Any:
    """``value`` as JSON has it: None where there is no number, lists for tuples."""
    if isinstance(value, Mapping):
        return {name: without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
