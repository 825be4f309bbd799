"""Which target each workload is scored against."""

import collections
from collections.abc import Iterable, Mapping

from finishline.workload import Target, all_workloads


def resolve_target(
    workload: str, recorded: Iterable[Target], given: Mapping[str, Target] | None
) -> Target | None:
    """The target that all trials of a workload are scored against.

    Args:
      workload: name of the workload.
      recorded: the targets that its trials ran against, as their logs tell. If they differ, the
        one of the most trials counts; of several, the first in alphabetical order.
      given: targets that go before the recorded ones; then there is no other source.

    Returns:
      The target; None if neither the logs nor this project have one.
    """
    if given is not None:
        return given.get(workload)
    races: dict[tuple[str, bool, float], Target] = {}
    counts: collections.Counter[tuple[str, bool, float]] = collections.Counter()
    for target in recorded:
        races.setdefault(race(target), target)
        counts[race(target)] += 1
    if races:
        return races[min(races, key=lambda one: (-counts[one], one))]
    known = all_workloads().get(workload)
    return None if known is None else known.target


def describe(target: Target) -> str:
    """A target in words, such as ``accuracy >= 0.97``."""
    return f"{target.metric} {'<=' if target.minimize else '>='} {target.validation}"


def race(target: Target) -> tuple[str, bool, float]:
    """What of a target stops the clock; two targets with the same are the same race."""
    return (target.metric, target.minimize, target.validation)
