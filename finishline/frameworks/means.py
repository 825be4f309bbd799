"""From the sums over a split to its metrics, the same for both frameworks."""

import math
from collections.abc import Callable, Sequence


def metrics_of(names: Sequence[str], sums: Sequence[Sequence[float]]) -> dict[str, float]:
    """The metrics by name, from (sum, how much counts) of each; NaN where nothing counts."""
    means = (total / count if count else math.nan for total, count in sums)
    return {name: _OF_MEAN.get(name, float)(mean) for name, mean in zip(names, means, strict=True)}


def _exp(value: float) -> float:
    """Infinity where ``math.exp`` overflows."""
    return math.inf if value > 709 else math.exp(value)


# What is done to a metric's mean over the split, where that is not the metric itself.
_OF_MEAN: dict[str, Callable[[float], float]] = {"ppl": _exp}
