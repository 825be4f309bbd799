"""What the versions of AlgoPerf's benchmark publish: targets, budgets, hardware and quirks.

Each number has one place: targets, which all versions share, are in ``targets.toml``, and what
differs between versions in ``<version>.toml``. Workloads, the command lines, scoring and the
documentation read them here.

A variant of a workload has a target of its own and all else from its base workload. Versions 0.6
and 1.0 score no variants, but their code has them, with these numbers.
"""

import dataclasses
import functools
import math
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

from finishline.errors import UserError
from finishline.workload import Target, WorkloadDefinition

VERSIONS = ("0.5", "0.6", "1.0")
NEWEST = VERSIONS[-1]


@dataclasses.dataclass(frozen=True, slots=True)
class Hardware:
    """A class of machines: a word in the name of its GPUs, and how many there are."""

    gpu_model: str
    gpu_count: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Numbers:
    """What a version publishes of a base workload beside its target.

    Attributes:
      step_hint: training steps.
      max_allowed_runtime_sec: seconds of submission time, by hardware class.
      eval_period_time_sec: seconds of submission time between evaluations, by hardware class.
      quirks: the known defects that its target was set with; see ``WorkloadDefinition.quirks``.
    """

    step_hint: int
    max_allowed_runtime_sec: Mapping[str, float]
    eval_period_time_sec: Mapping[str, float]
    quirks: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Version:
    """A version of the benchmark.

    Attributes:
      name: such as "0.6".
      num_studies: studies of a submission on each workload.
      num_trials: trials of a study, by tuning ruleset.
      self_tuning_budget_factor: what the self-tuning ruleset multiplies budgets by.
      float32_matmul_precision: 'highest' (float32) or 'high' (TF32 where the device has it).
      has_variants: whether it has targets for the variants, and not for base workloads alone.
      base_workloads: the workloads that the score is the mean over.
      held_out_workloads: the variants that were drawn.
      hardware: the classes of machines; the first is the usual one.
      workloads: the numbers of each base and development workload.
    """

    name: str
    num_studies: int
    num_trials: Mapping[str, int]
    self_tuning_budget_factor: float
    float32_matmul_precision: str
    has_variants: bool
    base_workloads: tuple[str, ...]
    held_out_workloads: tuple[str, ...]
    hardware: Mapping[str, Hardware]
    workloads: Mapping[str, Numbers]

    def budget_factor(self, ruleset: str) -> float:
        """What budgets are multiplied by under ``ruleset``, 'external' or 'self'."""
        return self.self_tuning_budget_factor if ruleset == "self" else 1.0

    def hardware_class(self, name: str | None) -> str:
        """The class called ``name``; None is the usual one.

        Raises:
          UserError: this version has no such class.
        """
        if name is None:
            return next(iter(self.hardware))
        if name not in self.hardware:
            raise UserError(
                f"Version {self.name} of the benchmark has no budgets for the hardware {name!r}; "
                f"use --hardware={' or --hardware='.join(self.hardware)}."
            )
        return name


@functools.cache
def load_version(name: str) -> Version:
    """The version called ``name``.

    Raises:
      UserError: there is none.
    """
    if name not in VERSIONS:
        raise UserError(
            f"There is no version {name!r} of the benchmark; use one of {', '.join(VERSIONS)}."
        )
    content = _read(f"{name}.toml")
    workloads = {
        workload: Numbers(**(numbers | {"quirks": frozenset(numbers.get("quirks", ()))}))
        for workload, numbers in content.pop("workloads").items()
    }
    hardware = {one: Hardware(**fields) for one, fields in content.pop("hardware").items()}
    for field in ("base_workloads", "held_out_workloads"):
        content[field] = tuple(content[field])
    return Version(name=name, workloads=workloads, hardware=hardware, **content)


@functools.cache
def targets() -> Mapping[str, Target]:
    """The published target of every workload and variant; a missing test target is NaN."""
    found = {}
    for base, entry in _read("targets.toml").items():
        race = {"metric": entry["metric"], "minimize": entry["minimize"]}
        for name, values in {base: entry, **entry.get("variants", {})}.items():
            found[name] = Target(
                **race, validation=values["validation"], test=values.get("test", math.nan)
            )
    return found


@functools.cache
def bases() -> Mapping[str, str]:
    """The base workload of every published workload and variant; that of a base is itself."""
    return {
        name: base
        for base, entry in _read("targets.toml").items()
        for name in (base, *entry.get("variants", {}))
    }


@functools.cache
def quirk_texts() -> Mapping[str, str]:
    """What each known defect is, by its name."""
    return _read("quirks.toml")


def published(name: str) -> dict[str, Any]:
    """The arguments of ``WorkloadDefinition`` that the newest version publishes.

    They are ``target``, ``max_allowed_runtime_sec``, ``eval_period_time_sec`` (both for the usual
    hardware) and ``step_hint``.

    Args:
      name: a workload or a variant of AlgoPerf.

    Raises:
      KeyError: AlgoPerf has no such workload.
    """
    fields = numbers_of(name, NEWEST)
    wanted = ("max_allowed_runtime_sec", "eval_period_time_sec", "step_hint")
    return {"target": targets()[name], **{field: fields[field] for field in wanted}}


def definition_for(
    definition: WorkloadDefinition, version: str, hardware: str | None = None
) -> WorkloadDefinition:
    """The workload as a version of the benchmark has it: target, budget, step hint, quirks.

    A workload of AlgoPerf that came after ``version`` has the numbers of the version that brought
    it. One that AlgoPerf does not have, such as a ``_mini``, is the same in every version.

    Raises:
      UserError: there is no such version, or it has no budgets for ``hardware``.
    """
    load_version(version).hardware_class(hardware)
    if definition.name not in bases():
        return definition
    numbers = numbers_of(definition.name, version, hardware)
    return definition.variant(definition.name, target=targets()[definition.name], **numbers)


def versions_of(name: str) -> list[Version]:
    """The versions that have numbers of a published workload, the oldest first."""
    return [one for one in map(load_version, VERSIONS) if bases()[name] in one.workloads]


def numbers_of(name: str, version: str, hardware: str | None = None) -> dict[str, Any]:
    """The numbers of a published workload in ``version``, as arguments of ``WorkloadDefinition``.

    See ``definition_for`` for workloads that ``version`` does not have.
    """
    base = bases()[name]
    used = load_version(version)
    if base not in used.workloads:
        used, hardware = versions_of(name)[0], None
    numbers, machine = used.workloads[base], used.hardware_class(hardware)
    return {
        "max_allowed_runtime_sec": numbers.max_allowed_runtime_sec[machine],
        "eval_period_time_sec": numbers.eval_period_time_sec[machine],
        "step_hint": numbers.step_hint,
        "quirks": numbers.quirks,
        # The development workloads are the same in every version.
        "matmul_precision": used.float32_matmul_precision
        if base in used.base_workloads
        else "highest",
    }


def _read(file: str) -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath(file).read_text(encoding="utf-8"))
