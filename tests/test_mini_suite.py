"""The small workloads tell good training algorithms from bad ones.

`nadamw` reaches the target of each, in both frameworks; plain gradient descent with a poor learning
rate does not in as many steps as `step_hint`, in which the good one is done.

All of it takes a quarter of an hour: ``make test-suite``. CI runs what ``SHORT_SUITE`` there
selects.
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from finishline.suites import all_suites
from finishline.workload import find_workload

ROOT = Path(__file__).resolve().parent.parent
MINIS = all_suites()["mini"].workloads
POOR_LEARNING_RATE = 0.003

GRADIENT_DESCENT = """
    import torch
    from finishline import spec

    def get_batch_size(workload_name):
        return {"criteo1tb_mini": 512}.get(workload_name, 64)

    def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
        return torch.optim.SGD(model_params.parameters(), lr=LEARNING_RATE)

    def update_params(workload, current_param_container, current_params_types, model_state,
                      hyperparameters, batch, loss_type, optimizer_state, eval_results,
                      global_step, rng):
        optimizer_state.zero_grad()
        logits, _ = workload.model_fn(
            current_param_container, batch, None, spec.ForwardPassMode.TRAIN, rng, True)
        loss = workload.loss_fn(batch["targets"], logits)
        (loss["summed"] / loss["n_valid_examples"]).backward()
        optimizer_state.step()
        return optimizer_state, current_param_container, None

    def data_selection(workload, input_queue, optimizer_state, current_param_container,
                       model_state, hyperparameters, global_step, rng):
        return next(input_queue)
"""


def race(tmp_path: Path, data_dir: Path, workload: str, framework: str, **flags: object) -> dict:
    """The record of one trial without a search space's help, or of the first point of one."""
    given = {
        "workload": workload,
        "framework": framework,
        "data_dir": data_dir,
        "experiment_dir": tmp_path,
        "experiment_name": "race",
        "num_tuning_trials": 1,
        "save_checkpoints": False,
        **flags,
    }
    command = [f"--{name}={value}" for name, value in given.items()]
    subprocess.run(
        [sys.executable, str(ROOT / "submission_runner.py"), *command],
        check=False,
        timeout=400,
        capture_output=True,
    )
    (meta,) = (tmp_path / "race").glob("*/study_0/*/trial_1/meta.json")
    return json.loads(meta.read_text())


@pytest.mark.suite
@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize("workload", MINIS)
def test_a_good_algorithm_reaches_the_target(tmp_path, data_dir, workload, framework):
    path = ROOT / "reference_submissions" / "nadamw"
    record = race(tmp_path, data_dir, workload, framework, submission_path=path)
    assert record["status"] == "target_reached", record


@pytest.mark.suite
@pytest.mark.parametrize("workload", MINIS)
def test_a_poor_algorithm_does_not(tmp_path, data_dir, workload):
    path = tmp_path / "submission.py"
    source = textwrap.dedent(GRADIENT_DESCENT)
    path.write_text(source.replace("LEARNING_RATE", str(POOR_LEARNING_RATE)))
    record = race(
        tmp_path,
        data_dir,
        workload,
        "pytorch",
        submission_path=path,
        tuning_ruleset="self",
        max_global_steps=find_workload(workload).step_hint,
    )
    assert record["status"] == "budget_spent", record
