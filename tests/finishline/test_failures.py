"""What a submission or the harness does wrong becomes a status that says whose failure it was."""

import json

import pytest

from finishline.claims import first_failure, read_data_wait, read_note, read_snapshot
from finishline.display import PlainDisplay
from finishline.errors import RuleViolation, Status
from finishline.records import RunDirectory
from finishline.referee import Referee
from finishline.scalars import MetricsLogger, frames
from finishline.study import StudyConfig, plan_study

COMMON = """
import gc, os
from finishline import spec

def get_batch_size(workload_name):
    return 64

def data_selection(workload, input_queue, optimizer_state, current_param_container, model_state,
                   hyperparameters, global_step, rng):
    return next(input_queue)

def log(workload, metrics, step):
    if workload.metrics_logger is not None:
        workload.metrics_logger.append_scalar_metrics(metrics, step)

def prepare_for_eval(workload, current_param_container, current_params_types, model_state,
                     hyperparameters, loss_type, optimizer_state, eval_results, global_step, rng):
    if hyperparameters.case == "complete in prepare_for_eval":
        raise spec.TrainingCompleteError
    return optimizer_state, current_param_container, model_state
"""

PYTORCH = """
import torch
import torch.distributed as dist

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    if hyperparameters.case == "complete at the start":
        raise spec.TrainingCompleteError
    return {}

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng):
    case = hyperparameters.case
    if case == "vector":
        log(workload, {"my loss": torch.ones(3)}, global_step)
    if case == "many scalars":
        log(workload, {f"{i:0100}": i / 3 for i in range(2500)}, global_step)
    if case == "forged":
        channel = next(o for o in gc.get_objects() if type(o).__name__ == "Channel")
        channel.send("snapshot", step=1, position=1, not_saved=[], last_because="mine",
                     data_wait_sec=0.0)
    if case == "second rank" and global_step == 2 and dist.get_rank() == 1:
        {}["from the second rank"]
    if case == "second rank":
        dist.all_reduce(torch.ones(1))
    return optimizer_state, current_param_container, model_state
"""

JAX = """
def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {"unused": next(iter(model_params.values()))}

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng):
    import jax
    if hyperparameters.case == "no parameters":
        return optimizer_state, {}, model_state
    if hyperparameters.case == "text":
        return optimizer_state, {"a": "text"}, model_state
    if hyperparameters.case == "deleted parameters":
        [leaf.delete() for leaf in jax.tree.leaves(current_param_container)]
    if hyperparameters.case == "deleted state" and global_step == 19:
        optimizer_state = {"own": jax.numpy.ones(3)}
        optimizer_state["own"].delete()
    return optimizer_state, current_param_container, model_state
"""

CASES = {
    "pytorch": {
        "vector": (Status.SUBMISSION_ERROR, ("'my loss'", "[3]")),
        "many scalars": (Status.BUDGET_SPENT, ()),
        "complete in prepare_for_eval": (Status.TRAINING_COMPLETE, ("step 20",)),
        "complete at the start": (Status.SUBMISSION_ERROR, ("TrainingCompleteError",)),
        "forged": (Status.RULE_VIOLATION, ("'last_because'", "'mine'")),
    },
    "jax": {
        "no parameters": (Status.SUBMISSION_ERROR, ("parameters", "nothing")),
        "text": (Status.SUBMISSION_ERROR, ("parameters", "'text'")),
        "deleted parameters": (Status.SUBMISSION_ERROR, ("parameters", "donate_argnums")),
        "deleted state": (Status.SUBMISSION_ERROR, ("optimizer state", "donate_argnums")),
    },
}


@pytest.fixture
def make_study(make_runner, tmp_path):
    """A function that makes a ``Runner`` whose study has a trial for each of ``cases``."""

    def make(framework: str, cases: list[str], **flags: object):
        source = COMMON + {"jax": JAX, "pytorch": PYTORCH}[framework]
        (tmp_path / "submission.py").write_text(source)
        points = json.dumps([{"case": case} for case in cases])
        (tmp_path / "tuning_search_space.json").write_text(points)
        return make_runner(
            framework=framework,
            workload="digits",
            submission_path=tmp_path,
            num_tuning_trials=len(cases),
            max_global_steps=20,
            **flags,
        )

    return make


def record(runner) -> dict[str, tuple[dict, list[dict]]]:
    """Meta data and events of the trials of a study, by case."""
    found = {}
    for folder in runner.experiment.glob("*/study_0/*/trial_*"):
        meta = json.loads((folder / "meta.json").read_text())
        lines = (folder / "events.jsonl").read_text().splitlines()
        found[meta["hyperparameters"]["case"]] = meta, [json.loads(line) for line in lines]
    return found


@pytest.mark.parametrize("framework", CASES)
def test_what_a_submission_does_wrong_is_its_failure(make_study, framework):
    cases = CASES[framework]
    runner = make_study(framework, list(cases))
    runner.run()
    found = record(runner)
    for case, (status, words) in cases.items():
        meta, events = found[case]
        assert meta["status"] == status, meta["message"]
        assert all(word in meta["message"] for word in words), meta["message"]
        assert events[-1]["event"] == "trial_ended"
    if framework == "pytorch":
        _, events = found["complete in prepare_for_eval"]
        assert [event["step"] for event in events if event["event"] == "evaluation"] == [20]
        _, events = found["many scalars"]
        written = [row for event in events if event["event"] == "scalars" for row in event["rows"]]
        assert sum(len(values) for _, values in written) == 20 * 2500
        kinds = [event["event"] for event in events]
        assert kinds.index("scalars") < kinds.index("evaluation")


def test_the_rank_that_failed_first_is_told(make_study):
    runner = make_study("pytorch", ["second rank"], num_devices=2)
    code, output = runner.run()
    assert code == Status.SUBMISSION_ERROR.exit_code, output
    assert "KeyError: 'from the second rank' (rank 1)" in runner.meta["message"]
    assert '{}["from the second rank"]' in runner.meta["message"]


def test_a_defect_of_the_harness_ends_the_trial_with_a_status(tmp_path, data_dir):
    config = StudyConfig(
        submission_path="reference_submissions/nadamw",
        framework="pytorch",
        workload="digits",
        data_dir=data_dir,
        experiment_dir=tmp_path,
    )
    (trial, *_) = plan_study(config)
    run = RunDirectory(trial.run_dir)
    outcome = Referee(trial, run, lambda: {}["a defect"], PlainDisplay()).run_trial()
    run.close()
    assert outcome.status is Status.INFRASTRUCTURE_ERROR
    assert "KeyError" in outcome.message
    assert run.events[-1]["event"] == "trial_ended"
    (failed,) = [event for event in run.events if event["event"] == "failed"]
    assert "lambda" in failed["traceback"]


GOOD = {"type": "snapshot", "step": 5, "position": 5, "not_saved": [], "last_because": None}
BAD = [
    {"last_because": "because"},
    {"last_because": 3},
    {"last_because": "max_global_steps"},
    {"step": 3},
    {"step": None},
    {"position": -1},
    {"not_saved": "x"},
]


@pytest.mark.parametrize("change", BAD, ids=str)
def test_a_snapshot_frame_that_cannot_be_is_a_violation(change):
    with pytest.raises(RuleViolation, match="The worker sent a 'snapshot' frame"):
        read_snapshot({**GOOD, **change}, 4, 6)


def test_a_snapshot_frame_that_can_be_is_read():
    last = {**GOOD, "step": 6, "last_because": "max_global_steps"}
    assert read_snapshot(GOOD, 5, None).last_because is None
    without = {name: value for name, value in GOOD.items() if name != "last_because"}
    assert read_snapshot(without, 5, None).last_because is None
    assert read_snapshot(last, 5, 6).step == 6
    with pytest.raises(RuleViolation, match="max_global_steps"):
        read_snapshot(last, 5, None)


@pytest.mark.parametrize("value", [-0.1, 2.1, float("nan"), float("inf"), 1, True, "1", None])
def test_a_wait_for_data_that_cannot_be_is_a_violation(value):
    with pytest.raises(RuleViolation, match="'progress' frame whose 'data_wait_sec' is"):
        read_data_wait({"type": "progress", "data_wait_sec": value}, most=2.0)


def test_a_wait_for_data_that_can_be_is_read():
    for value in (0.0, 1.5, 2.0):
        assert read_data_wait({"type": "progress", "data_wait_sec": value}, most=2.0) == value


def test_the_earliest_failure_counts_whatever_a_worker_writes():
    notes = [b"{", b"[" * 10**5, b"[1]", b'{"message": "\\ud800"}', b'{"time": "early"}']
    forged = [note for note in map(read_note, notes) if note]
    assert forged == [{"time": "early"}]
    told = [{"time": 2.0, "message": "late"}, {"time": 1.0, "message": "x" * 10**6}, *forged]
    first = first_failure(told)
    assert first.time == 1.0
    assert len(first.message) == 2000
    assert first_failure([]) is None


def test_scalars_are_cut_into_frames_and_lose_nothing():
    rows = [(step, {f"{step}, {i}": float(i) for i in range(700)}) for step in range(5)]
    portions = list(frames(rows))
    assert all(sum(len(values) for _, values in portion) <= 1000 for portion in portions)
    joined: dict[int, dict[str, float]] = {}
    for portion in portions:
        for step, values in portion:
            joined.setdefault(step, {}).update(values)
    assert joined == dict(rows)
    assert list(frames([])) == []


def test_a_metric_may_be_whatever_is_one_number():
    np = pytest.importorskip("numpy")
    logger = MetricsLogger()
    logger.append_scalar_metrics({"a": np.ones(1), "b": True, "c": np.float32(2), "d": 3}, 1)
    assert logger.take() == [(1, {"a": 1.0, "b": 1.0, "c": 2.0, "d": 3.0})]
    assert logger.take() == []
