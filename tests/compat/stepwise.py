"""Runs the worker of one trial in this process, evaluated after every so many steps.

Usage: python stepwise.py JSON, with the arguments of ``run``. Writes ``result.json`` into the
folder ``out``, and a checkpoint of each evaluation below it. No referee takes part.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from finishline.frameworks.environment import prepare_environment

SEEDS = {"data": 1, "init": 2, "submission": 3}


class StepPace:
    """Evaluations by the number of steps; see ``finishline.trainer.Pace``."""

    every = 32

    def __init__(self, ranks: Any, eval_period: float, max_steps: int):
        self._max_steps = max_steps
        self.next_look = 0

    def resumed(self, step: int) -> None:
        self.next_look = step + self.every

    def look(self, step: int) -> int:
        from finishline import trainer

        return trainer._LAST_STEP if step >= self._max_steps else trainer._EVALUATE


def own_random_numbers(framework: str) -> Any:
    """A context after which the submission's generator is as it was before."""
    if framework == "jax":
        return contextlib.nullcontext()
    import torch

    return torch.random.fork_rng(devices=[])


def run(
    path: str,
    framework: str,
    workload: str,
    data_dir: str,
    out: str,
    steps: int,
    hyperparameters: dict[str, Any] | None,
    resumed_from: str | None = None,
    num_devices: int = 1,
    is_on: bool = True,
) -> None:
    from safetensors.numpy import save_file

    from finishline import worker
    from finishline.compat.plan import make_plan
    from finishline.evaluator import Evaluator
    from finishline.frameworks.base import SingleRank
    from finishline.workload import find_workload

    definition = find_workload(workload)
    evaluator = Evaluator(definition, framework, Path(data_dir))
    results: dict[str, Any] = {"losses": [], "steps": [], "lost": [], "not_saved": []}
    source = Path(resumed_from or out)

    class StepWorker(worker.Worker):
        def _evaluate(self, trainer: Any, last_because: str | None) -> Any:
            arrays = self._runtime.snapshot(trainer.params, trainer.model_state)
            results["lost"] = worker.changed(self._rebuilt_at_first, self._rebuilt(trainer))
            self._exchange = Path(out) / f"step_{trainer.step}"
            self._exchange.mkdir()
            results["not_saved"] = self._save_state(trainer)
            snapshot = self._exchange / worker.SNAPSHOT_FILE
            save_file(arrays, snapshot)
            with own_random_numbers(framework):
                metrics = evaluator.evaluate(evaluator.parse(snapshot.read_bytes()))
            results["losses"].append(metrics["validation/loss"])
            results["steps"].append(trainer.step)
            results.update(step=trainer.step, position=trainer.feed.position)
            results["ended"] = last_because
            (self._exchange / "result.json").write_text(json.dumps(results))
            if last_because:
                raise worker.StopTraining
            return trainer.step, metrics

    worker.Pace = StepPace
    plan = make_plan(Path(path), framework, hyperparameters)
    setup = worker.Setup(
        workload=workload,
        framework=framework,
        data_dir=data_dir,
        exchange_dir=str(source),
        submission_path=path,
        num_examples=evaluator.num_examples,
        seeds=SEEDS,
        overrides={
            "step_hint": 200,
            "dropout_rate": definition.dropout_rate,
            "quirks": [],
            "eval_period_time_sec": 1.0,
            "max_allowed_runtime_sec": 100.0,
        },
        num_devices=num_devices,
        compile_model=False,
        shard_embeddings=False,
        save_state=True,
        max_global_steps=steps,
        compat_shims=list(plan.shims) if is_on else None,
    )
    racer = StepWorker(None, setup, SingleRank())
    # The race starts from these, which a submission may donate.
    initial = racer._runtime.snapshot(*racer._fresh[0])
    results["initial_loss"] = evaluator.evaluate(initial)["validation/loss"]
    before = json.loads((source / "result.json").read_text()) if resumed_from else None
    start = {
        "hyperparameters": hyperparameters,
        "resume": before and {"step": before["step"], "position": before["position"]},
        "eval_results": [],
        "clock_readings": {"accumulated_submission_time": 0.0},
    }
    with contextlib.suppress(worker.StopTraining):
        racer.race(start)
    results["shims"] = list(plan.shims)
    (Path(out) / "result.json").write_text(json.dumps(results))


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    prepare_environment(arguments["framework"], arguments.get("num_devices", 1))
    if arguments["framework"] == "jax":
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    run(**arguments)
