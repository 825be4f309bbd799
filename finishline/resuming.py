"""Whether a command goes on with what is on the disk: checked before anything is changed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finishline.checkpoints import newest_meta
from finishline.errors import InfrastructureError, Status, UserError
from finishline.records import (
    CHECKPOINTS_FOLDER,
    EVENTS_FILE,
    META_FILE,
    read_events,
    read_json,
)
from finishline.trial import TrialConfig

# What makes a trial what it is, by its name in the record, and how to call it.
_FIXED = {
    "root_seed": "--rng_seed",
    "tuning_ruleset": "--tuning_ruleset",
    "hyperparameters": "the hyperparameter",
    "source_hash": "the source hash",
    "target": "the target's",
    "max_allowed_runtime_sec": "the budget in seconds",
    "eval_period_time_sec": "eval_period_time_sec",
    "step_hint": "step_hint",
    "dropout_rate": "dropout_rate",
    "model": "the model's",
    "benchmark_version": "--benchmark_version",
    "hardware": "--hardware",
    "quirks": "the quirks",
    "matmul_precision": "matmul_precision",
    "num_devices": "--num_devices",
    "torch_compile": "--torch_compile",
    "shard_embeddings": "--shard_embeddings",
    "compat": "--compat",
    "compat_shims": "the compatibility shims",
}
_MAX_TOLD = 3
_NOTHING = "none"


def newest_experiment(experiment_dir: Path, study: str) -> str | None:
    """The experiment with the newest record of a trial below ``<experiment>/<study>``, if any."""
    logs = experiment_dir.glob(f"*/{study}/trial_*/{EVENTS_FILE}")
    started = [(log.stat().st_mtime, log) for log in logs if log.stat().st_size]
    if not started:
        return None
    _, newest = max(started)
    return newest.relative_to(experiment_dir).parts[0]


def check_continues(trial: TrialConfig) -> None:
    """Checks that ``trial`` is the one in its folder, if there is one, and can be continued.

    Raises:
      UserError: it has other numbers, or a state that no checkpoint can hold; one sentence says
        which.
    """
    before = _first_event(trial.run_dir / EVENTS_FILE)
    now = json.loads(json.dumps(trial.describe(), default=str))
    changes = [
        f"{_FIXED[name]}{part} {old} instead of {new}"
        for name in _FIXED
        if name in before
        for part, old, new in _differences(before[name], now[name])
    ]
    if changes:
        more = f" and {len(changes) - _MAX_TOLD} more" if len(changes) > _MAX_TOLD else ""
        raise UserError(
            f"{trial.run_dir} was started with {', '.join(changes[:_MAX_TOLD])}{more}; continue it "
            "with the old values, delete it with --overwrite, or give another --experiment_name."
        )
    _check_state(trial)


def _check_state(trial: TrialConfig) -> None:
    record = read_json(trial.run_dir / META_FILE) or {}
    if record.get("status") in [status for status in Status if status.is_final]:
        return
    meta = newest_meta(trial.run_dir / CHECKPOINTS_FOLDER) or {}
    if lost := meta.get("lost"):
        more = f" and {len(lost) - _MAX_TOLD} more" if len(lost) > _MAX_TOLD else ""
        raise UserError(
            f"{trial.run_dir} cannot be continued: its checkpoint lacks "
            f"{', '.join(lost[:_MAX_TOLD])}{more}, which the submission has changed since "
            "init_optimizer_state; begin anew with --overwrite, or give another --experiment_name."
        )


def _first_event(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return next((event for _, event in read_events(path)), {})
    except InfrastructureError:
        return {}  # who opens the record will say so


def _differences(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """(name of the part, old value, new value) of what differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            values = old.get(name, _NOTHING), new.get(name, _NOTHING)
            if values[0] != values[1]:
                yield f" {name}", *values
    elif old != new:
        yield "", old, new
