"""Runs a trial again: ``python -m finishline.auditing.repetition JSON``.

JSON has ``study``, the fields of a ``StudyConfig`` whose last trial it is, ``executor``, what a
record tells of it, and ``last_step``: with one, the trial goes on to it whether it meets the target
or not.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from finishline.auditing.rerun import executor_of
from finishline.display import PlainDisplay
from finishline.records import RunDirectory
from finishline.study import StudyConfig, evaluator_factory, plan_study, run_or_skip

_PATHS = ("data_dir", "experiment_dir")


def main(text: str) -> None:
    """Runs what ``text`` asks for."""
    request: dict[str, Any] = json.loads(text)
    fields = request["study"]
    study = StudyConfig(
        **fields | {name: Path(fields[name]) for name in _PATHS},
        executor=executor_of(request["executor"]),
    )
    trial = plan_study(study)[-1]
    if request["last_step"] is not None:
        trial = dataclasses.replace(
            trial, stop_at_target=False, max_global_steps=request["last_step"]
        )
    run = RunDirectory(trial.run_dir)
    run_or_skip(trial, run, evaluator_factory(trial), PlainDisplay())
    run.close()


if __name__ == "__main__":
    main(sys.argv[1])
