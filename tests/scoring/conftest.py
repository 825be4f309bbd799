import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

TARGET = {"metric": "accuracy", "minimize": False, "validation": 0.9}
HEADER = [
    "accumulated_eval_time",
    "accumulated_submission_time",
    "global_step",
    "validation/accuracy",
    "validation/loss",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "logs"
    path.mkdir()
    return path


@pytest.fixture
def add_trial(root: Path) -> Callable[..., Path]:
    """Writes the log of one trial: ``rows`` are (time, accuracy); no rows is no file."""

    def add(
        submission: str = "a",
        study: int = 0,
        workload: str = "digits",
        trial: int = 1,
        *,
        rows: list[tuple[float | str, float | str]] | None = None,
        time: float | None = None,
        framework: str = "jax",
        status: str | None = "",
        message: str = "",
        target: dict | None = TARGET,
    ) -> Path:
        path = root / submission / f"study_{study}" / f"{workload}_{framework}" / f"trial_{trial}"
        path.mkdir(parents=True)
        if time is not None:
            rows = [(time / 2, 0.1), (time, 0.95)]
        if rows is not None:
            with (path / "eval_measurements.csv").open("w", newline="") as file:
                cells = ([0.5, at, 7, value, 0.3] for at, value in rows)
                csv.writer(file).writerows([HEADER, *cells])
        reached = any(isinstance(value, float) and value >= 0.9 for _, value in rows or [])
        if status == "":
            status = "target_reached" if reached else "budget_spent"
        if status is not None:
            meta = {"status": status, "message": message, "target": target}
            (path / "meta.json").write_text(json.dumps(meta))
        return path

    return add
