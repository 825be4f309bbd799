"""The fields of ``meta.json`` and of the events, with their types (docs/records.md)."""

from collections.abc import Mapping
from types import NoneType
from typing import Any

from finishline.clock import Account
from scoring.checks.findings import quoted

_NUMBER = (int, float)
_LEDGER = dict.fromkeys((account.value for account in Account), _NUMBER)

# A value is a type or several of them, a mapping of fields, or [type of each element].
START = {
    "submission": str,
    "submission_path": str,
    "source_hash": str,
    "workload": str,
    "framework": str,
    "study": int,
    "trial": int,
    "tuning_ruleset": str,
    "hyperparameters": (dict, NoneType),
    "root_seed": int,
    "seeds": {"data": int, "init": int, "submission": int},
    "target": {
        "metric": str,
        "minimize": bool,
        "validation": _NUMBER,
        "test": (*_NUMBER, NoneType),
    },
    "max_allowed_runtime_sec": _NUMBER,
    "eval_period_time_sec": _NUMBER,
    "step_hint": (*_NUMBER, NoneType),
    "model": dict,
    "num_devices": int,
    "max_global_steps": (int, NoneType),
    "save_checkpoints": bool,
    "torch_compile": bool,
    "stop_at_target": bool,
    "data_dir": str,
    "machine": {"system": str, "processor": str, "cores": int, "memory_bytes": int, "gpus": [str]},
    "versions": {"python": str, "finishline": str},
}
END = {
    "status": str,
    "message": str,
    "submission_time": _NUMBER,
    "step": int,
    "ledger": _LEDGER,
    "resumes": int,
    "refused_snapshots": int,
    "peak_memory_bytes": {"referee": int, "worker": int},
}
RUNNING = {"status": str, "message": str}
LOG_FIELDS = {"index": int, "time": str, "event": str, "previous": str}
EVENTS: dict[str, Mapping[str, Any]] = {
    "trial_started": START,
    "host": {"when": str},
    "worker": {"when": str},
    "calibration": {"when": str, "attempts": [dict]},
    "batch_size": {"global_batch_size": int},
    "evaluation": {
        "step": int,
        "metrics": dict,
        "ledger": _LEDGER,
        "resumes": int,
        "target_is_met": bool,
    },
    "scalars": {"rows": [list]},
    "early_snapshot": {"seconds_since_last": _NUMBER},
    "not_in_checkpoints": {"parts": [str]},
    "resumed": {
        "step": int,
        "ledger": _LEDGER,
        "lost": {"steps": int, "seconds": _NUMBER},
    },
    "failed": {"message": str, "traceback": str},
    "message": {"text": str},
    "trial_ended": END,
}


def mismatch(content: Any, schema: Any, name: str = "it") -> str | None:
    """What is wrong with ``content``, such as "step is 'x' instead of int"; None if nothing is."""
    if isinstance(schema, Mapping):
        return _fields_mismatch(content, schema, name)
    if isinstance(schema, list):
        if not isinstance(content, list):
            return f"{name} is {quoted(content)} instead of a list"
        wrong = (mismatch(value, schema[0], f"an element of {name}") for value in content)
        return next(filter(None, wrong), None)
    types = schema if isinstance(schema, tuple) else (schema,)
    is_bool = isinstance(content, bool)  # which Python takes for an integer
    if (bool in types) if is_bool else isinstance(content, types):
        return None
    expected = " or ".join("null" if kind is NoneType else kind.__name__ for kind in types)
    return f"{name} is {quoted(content)} instead of {expected}"


def _fields_mismatch(content: Any, schema: Mapping[str, Any], name: str) -> str | None:
    if not isinstance(content, dict):
        return f"{name} is {quoted(content)} instead of an object"
    prefix = "" if name == "it" else f"{name}."
    for field, inner in schema.items():
        if field not in content:
            return f"the field {prefix}{field} is missing"
        if wrong := mismatch(content[field], inner, f"{prefix}{field}"):
            return wrong
    return None


def event_mismatch(event: Mapping[str, Any]) -> str | None:
    """What is wrong with an event of a known kind; None if nothing is."""
    kind = event["event"]
    if wrong := mismatch(event, EVENTS[kind]):
        return wrong
    if kind == "evaluation":
        return _numbers_mismatch(event["metrics"], "metrics")
    if kind == "scalars":
        for row in event["rows"]:
            if len(row) != 2 or not isinstance(row[0], int) or not isinstance(row[1], dict):
                return f"a row is {quoted(row)} instead of [step, values]"
            if wrong := _numbers_mismatch(row[1], "a row"):
                return wrong
    return None


def _numbers_mismatch(values: Mapping[str, Any], name: str) -> str | None:
    wrong = (mismatch(value, _NUMBER, f"{name}.{key}") for key, value in values.items())
    return next(filter(None, wrong), None)
