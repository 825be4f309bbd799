"""Checks that the trials of a competition fit each other."""

import collections
import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from finishline.records import META_FILE
from scoring.checks.findings import Finding, Severity, quoted, warning
from scoring.checks.trial import Facts

_RULES = ("target", "max_allowed_runtime_sec", "eval_period_time_sec", "tuning_ruleset")
_RULES_REMEDY = "their times cannot be compared: run the trials again under the same rules"
_MACHINE_REMEDY = "times of different machines cannot be compared: run the trials again on one"
_VERSIONS_REMEDY = "run the trials again with one set of versions (constraints.txt)"
_MEMORY_SHARE = 0.05


def check_across(all_facts: Sequence[Facts]) -> Iterator[Finding]:
    """What is wrong between trials; those of different competitions are not compared."""
    competitions = collections.defaultdict(list)
    for facts in all_facts:
        competitions[facts.run.competition].append(facts)
    for members in competitions.values():
        recorded = [facts for facts in members if facts.start]
        yield from _shared_seeds(recorded)
        yield from _sources(recorded)
        yield from _machines(recorded)
        yield from _versions(recorded)
        yield from _rules(recorded)
    yield from _duplicates(all_facts)


def _duplicates(all_facts: Iterable[Facts]) -> Iterator[Finding]:
    first: dict[str, Path] = {}
    for facts in all_facts:
        if facts.digest is None:
            continue
        if facts.digest in first:
            problem = f"it has the same evaluations as {first[facts.digest]}"
            remedy = "one is a copy: delete it"
            yield Finding("duplicate", facts.run.path, problem, remedy)
        first.setdefault(facts.digest, facts.run.path)


def _shared_seeds(members: Sequence[Facts]) -> Iterator[Finding]:
    """Seeds that are equal where they must differ, and differ where they must be equal."""
    remedy = "run one of the two again with --overwrite"
    owners: dict[tuple[str, int], tuple[Hashable, Path]] = {}
    for facts in members:
        start, path = facts.start or {}, facts.run.path
        cell = (start["workload"], start["study"], start["trial"])
        # All submissions share the seeds of data and initial parameters, and those alone.
        who = {"data": cell, "init": cell, "submission": path}
        shared: dict[Path, list[str]] = {}
        for name, owner in who.items():
            first, place = owners.setdefault((name, start["seeds"][name]), (owner, path))
            if first != owner:
                shared.setdefault(place, []).append(name)
        for place, names in shared.items():
            problem = f"its seeds {', '.join(names)} are those of {place}"
            yield Finding("seeds", path / META_FILE, problem, remedy)
    for name in ("data", "init"):
        yield from _deviations(
            members,
            kind="seeds",
            what=f"{name} seed",
            group=lambda start: (start["workload"], start["study"], start["trial"]),
            value=lambda start, name=name: start["seeds"][name],  # type: ignore[misc]
            remedy="submissions meet the same batches only with one --rng_seed: run it again",
            severity=Severity.WARNING,
        )


def _sources(members: Sequence[Facts]) -> Iterator[Finding]:
    return _deviations(
        members,
        kind="source",
        what="source hash",
        group=lambda start: start["submission"],
        value=lambda start: start["source_hash"],
        remedy="the submission was changed in between: run its trials again with one source",
    )


def _machines(members: Sequence[Facts]) -> Iterator[Finding]:
    for name in ("processor", "cores", "gpus", "num_devices", "system"):
        yield from _deviations(
            members,
            kind="machine",
            what=name,
            group=lambda start: None,
            value=lambda start, name=name: (start["machine"] | start).get(name),  # type: ignore[misc]
            remedy=_MACHINE_REMEDY,
            severity=Severity.WARNING if name == "system" else Severity.ERROR,
        )
    sizes = [(facts.start or {})["machine"]["memory_bytes"] for facts in members]
    if sizes and max(sizes) - min(sizes) > _MEMORY_SHARE * max(sizes):
        path = members[sizes.index(min(sizes))].run.path / META_FILE
        problem = f"memory is {min(sizes):,} bytes, elsewhere up to {max(sizes):,}"
        yield warning("machine", path, problem, _MACHINE_REMEDY)


def _versions(members: Sequence[Facts]) -> Iterator[Finding]:
    packages = {name: None for facts in members for name in (facts.start or {})["versions"]}
    for package in packages:
        yield from _deviations(
            [facts for facts in members if package in (facts.start or {})["versions"]],
            kind="versions",
            what=f"version of {package}",
            group=lambda start: None,
            value=lambda start, package=package: start["versions"][package],  # type: ignore[misc]
            remedy=_VERSIONS_REMEDY,
        )


def _rules(members: Sequence[Facts]) -> Iterator[Finding]:
    for name in _RULES:
        yield from _deviations(
            members,
            kind="rules",
            what=name,
            group=lambda start: start["workload"],
            value=lambda start, name=name: start[name],  # type: ignore[misc]
            remedy=_RULES_REMEDY,
        )


def _deviations(
    members: Sequence[Facts],
    *,
    kind: str,
    what: str,
    group: Callable[[Any], Hashable],
    value: Callable[[Any], Any],
    remedy: str,
    severity: Severity = Severity.ERROR,
) -> Iterator[Finding]:
    """One finding for each value that is not the usual one of its group.

    The usual one is the most frequent; of equally frequent ones the first.
    """
    groups: dict[Hashable, dict[str, list[Facts]]] = {}
    for facts in members:
        key = json.dumps(value(facts.start), sort_keys=True)
        groups.setdefault(group(facts.start), {}).setdefault(key, []).append(facts)
    for values in groups.values():
        usual = max(values, key=lambda key: len(values[key]))
        for key, deviating in values.items():
            if key == usual:
                continue
            more = f" (and {len(deviating) - 1:,} more)" if len(deviating) > 1 else ""
            problem = (
                f"{what} is {quoted(json.loads(key))}{more}, but {quoted(json.loads(usual))} "
                f"in {len(values[usual]):,} other trials"
            )
            path = deviating[0].run.path / META_FILE
            yield Finding(kind, path, problem, remedy, severity=severity)
