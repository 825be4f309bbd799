"""All that is known of a workload as one plain dict, for people, programs and the documentation."""

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from finishline.benchmark import NEWEST, bases, definition_for, versions_of
from finishline.frameworks import FRAMEWORKS
from finishline.suites import all_suites
from finishline.workload import WorkloadDefinition

# The name under which numbers stand that are the same in every version or on all hardware.
ANY = "any"
_MODULES = {"jax": "flax", "pytorch": "torch"}

Description = Mapping[str, Any]


def describe(definition: WorkloadDefinition, data_dir: Path | None = None) -> dict[str, Any]:
    """All of a workload as JSON; imports the frameworks that are installed, and reads no data.

    Args:
      definition: the workload.
      data_dir: where the data sets may lie; None leaves out whether they are prepared.
    """
    newest = definition_for(definition, NEWEST)
    dataset = definition.dataset
    return {
        "name": definition.name,
        "task": definition.task,
        "remark": definition.remark,
        "variant_of": _base_of(definition),
        "suites": [name for name, one in all_suites().items() if definition.name in one.workloads],
        "dataset": {
            "name": dataset.name,
            "origin": dataset.origin,
            "disk_bytes": dataset.disk_bytes,
            "num_examples": dict(dataset.num_examples),
            "fields": {
                name: [list(shape), dtype] for name, (shape, dtype) in dataset.fields.items()
            },
            **({} if data_dir is None else {"is_prepared": dataset.is_prepared(data_dir)}),
        },
        "loss": definition.loss_type.name.lower(),
        "metrics": list(definition.metrics),
        "target": definition.target.describe(),
        "max_allowed_runtime_sec": newest.max_allowed_runtime_sec,
        "eval_period_time_sec": newest.eval_period_time_sec,
        "step_hint": newest.step_hint,
        "quirks": sorted(newest.quirks),
        "versions": _versions(definition),
        "eval_batch_size": definition.eval_batch_size,
        "num_eval_train_examples": definition.num_eval_train_examples,
        "dropout_rate": definition.dropout_rate,
        "model": newest.model_config,
        "parameters": {framework: _count(definition, framework) for framework in FRAMEWORKS},
    }


def describe_all(
    definitions: Iterable[WorkloadDefinition], data_dir: Path | None = None
) -> dict[str, dict[str, Any]]:
    """``describe`` of each, by its name."""
    return {definition.name: describe(definition, data_dir) for definition in definitions}


def _base_of(definition: WorkloadDefinition) -> str | None:
    base = bases().get(definition.name)
    return None if base == definition.name else base


def _versions(definition: WorkloadDefinition) -> dict[str, Any]:
    """What each version of the benchmark says of it, by version and hardware class."""
    if definition.name not in bases():
        return {ANY: _numbers(definition, {ANY: definition})}
    return {
        version.name: _numbers(
            definition_for(definition, version.name),
            {
                hardware: definition_for(definition, version.name, hardware)
                for hardware in version.hardware
            },
        )
        for version in versions_of(definition.name)
    }


def _numbers(
    definition: WorkloadDefinition, by_hardware: Mapping[str, WorkloadDefinition]
) -> dict[str, Any]:
    return {
        "step_hint": definition.step_hint,
        "quirks": sorted(definition.quirks),
        "matmul_precision": definition.matmul_precision,
        "hardware": {
            name: {
                "max_allowed_runtime_sec": one.max_allowed_runtime_sec,
                "eval_period_time_sec": one.eval_period_time_sec,
            }
            for name, one in by_hardware.items()
        },
    }


def _count(definition: WorkloadDefinition, framework: str) -> int | None:
    """The number of parameters; None if the framework is not installed."""
    if importlib.util.find_spec(_MODULES[framework]) is None:
        return None
    from finishline.frameworks.counting import count_parameters

    return count_parameters(definition, framework)
