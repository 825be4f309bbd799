"""Several devices train as one: the same batches, parameters and batch-norm statistics."""

import numpy as np
import pytest
from safetensors.numpy import load

from finishline.errors import Status

COMMON = """
from finishline import spec

def get_batch_size(workload_name):
    return 64

def data_selection(workload, input_queue, optimizer_state, current_param_container, model_state,
                   hyperparameters, global_step, rng):
    return next(input_queue)

def prepare_for_eval(workload, current_param_container, current_params_types, model_state,
                     hyperparameters, loss_type, optimizer_state, eval_results, global_step, rng):
    return optimizer_state, current_param_container, model_state
"""

JAX = """
import jax

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    @jax.jit
    def train_step(params, model_state, batch, rng):
        def mean_loss(params):
            logits, new_state = workload.model_fn(
                params, batch, model_state, spec.ForwardPassMode.TRAIN, rng, True, dropout_rate=0.0)
            loss = workload.loss_fn(batch["targets"], logits)
            return loss["summed"] / loss["n_valid_examples"], new_state
        gradient, model_state = jax.grad(mean_loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient), model_state
    return {"momentum": 0.0}, train_step

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng):
    assert len(batch["inputs"].sharding.device_set) == DEVICES
    params, model_state = optimizer_state[1](current_param_container, model_state, batch, rng)
    return optimizer_state, params, model_state
"""

PYTORCH = """
import torch
import torch.distributed as dist
import torch.distributed.nn

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {"optimizer": torch.optim.SGD(model_params.parameters(), lr=0.05)}

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng):
    assert len(batch["inputs"]) == 64 // DEVICES
    optimizer = optimizer_state["optimizer"]
    optimizer.zero_grad()
    logits, _ = workload.model_fn(current_param_container, batch, model_state,
                                  spec.ForwardPassMode.TRAIN, rng, True, dropout_rate=0.0)
    loss = workload.loss_fn(batch["targets"], logits)
    summed, count = loss["summed"], loss["n_valid_examples"]
    if DEVICES > 1:
        summed = dist.nn.all_reduce(summed)
        count = dist.nn.all_reduce(count)
    (summed / count).backward()
    optimizer.step()
    return optimizer_state, current_param_container, model_state
"""


def write_submission(folder, framework: str, devices: int):
    folder.mkdir()
    own = {"jax": JAX, "pytorch": PYTORCH}[framework]
    path = folder / "submission.py"
    path.write_text(f"DEVICES = {devices}\n{COMMON}{own}")
    return path


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_two_devices_train_as_one(make_runner, tmp_path, framework):
    results = {}
    for devices in (1, 2):
        runner = make_runner(
            f"devices_{devices}",
            framework=framework,
            workload="digits",
            submission_path=write_submission(tmp_path / f"s{devices}", framework, devices),
            tuning_ruleset="self",
            num_devices=devices,
            max_global_steps=20,
        )
        code, output = runner.run()
        assert code == Status.BUDGET_SPENT.exit_code, output
        results[devices] = load(runner.final_snapshot())
    initial_scale = max(np.abs(array).max() for array in results[1].values())
    assert initial_scale > 0.1  # something to compare
    for name, one in results[1].items():
        np.testing.assert_allclose(results[2][name], one, rtol=1e-4, atol=3e-5, err_msg=name)
    assert any("mean" in name for name in results[1])


def test_two_ranks_resume_after_a_kill(make_runner, tmp_path, processes):
    """All ranks are frozen and killed with the referee, and continue together."""
    path = write_submission(tmp_path / "s", "pytorch", 2)
    flags = {
        "framework": "pytorch",
        "workload": "digits",
        "submission_path": path,
        "tuning_ruleset": "self",
        "num_devices": 2,
    }
    whole = make_runner("whole", **flags, max_global_steps=150)
    assert whole.run()[0] == Status.BUDGET_SPENT.exit_code
    runner = make_runner("killed", **flags)
    process = runner.start(max_global_steps=100_000)
    while not list(runner.experiment.glob("**/checkpoints/step_*")) and process.poll() is None:
        pass
    processes.kill(process, "referee")
    done = max(runner.run_dir.glob("checkpoints/step_*")).name.removeprefix("step_")
    assert int(done) < 150
    code, output = runner.run(resume=True, max_global_steps=150)
    assert code == Status.BUDGET_SPENT.exit_code, output
    first, second = load(whole.final_snapshot()), load(runner.final_snapshot())
    for name, array in first.items():
        np.testing.assert_allclose(second[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
