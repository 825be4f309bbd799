"""The compatibility layer in whole trials: what is recorded, told and refused."""

import json
import time
from pathlib import Path

import pytest

from finishline.errors import BAD_INPUT_EXIT_CODE

SUBMISSIONS = Path(__file__).parent / "submissions"


@pytest.fixture
def make_trial(make_runner):
    def make(style: str, framework: str, **flags):
        return make_runner(
            style,
            submission_path=SUBMISSIONS / style,
            framework=framework,
            workload="digits",
            tuning_ruleset="self",
            num_devices=1,
            **flags,
        )

    return make


def test_what_was_supplied_is_recorded_and_told(make_trial):
    runner = make_trial("cuda_torch", "pytorch", max_global_steps=20)
    code, output = runner.run()
    assert code in (0, 10), output
    assert runner.meta["compat_shims"] == ["algoperf", "cuda on the CPU"]
    (started,) = runner.events_of("trial_started")
    assert started["compat_shims"] == runner.meta["compat_shims"]
    assert any("'cuda'" in event["text"] for event in runner.events_of("message"))
    assert "without a GPU it gets the CPU" in output


@pytest.mark.parametrize("flag", [{"no_compat": True}, {"compat": False}])
def test_switched_off(make_trial, flag):
    runner = make_trial("cuda_torch", "pytorch", **flag)
    code, output = runner.run()
    assert code == BAD_INPUT_EXIT_CODE
    assert "submission.py:4 imports algoperf" in output
    assert not runner.experiment.exists()


def test_a_state_that_cannot_be_had_again_is_not_continued(make_trial, processes):
    runner = make_trial("closures_torch", "pytorch")
    process = runner.start()
    deadline = time.monotonic() + 240
    while not list(runner.experiment.glob("*/*/*/trial_1/checkpoints/step_*/manifest.json")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    processes.kill(process, "both")
    before = (runner.run_dir / "events.jsonl").read_bytes()
    (parts,) = [event["parts"] for event in runner.events_of("not_in_checkpoints")]
    assert any("optimizer_state['rate']: function" in part for part in parts)
    code, output = runner.run(resume=True)
    assert code == BAD_INPUT_EXIT_CODE
    for word in ("cannot be continued", "optimizer_state['rate']", "--overwrite"):
        assert word in output
    assert (runner.run_dir / "events.jsonl").read_bytes() == before


@pytest.mark.slow
def test_two_ranks(make_runner):
    runner = make_runner(
        submission_path=SUBMISSIONS / "old_name_torch",
        framework="pytorch",
        workload="digits",
        num_tuning_trials=2,
        hparam_end_index=1,
        num_devices=2,
        max_global_steps=60,
    )
    code, output = runner.run()
    assert code in (0, 10), output
    losses = [event["metrics"]["validation/loss"] for event in runner.events_of("evaluation")]
    assert losses[-1] < 2.0
    assert json.dumps(runner.meta["compat_shims"]).startswith('["algorithmic_efficiency"')
