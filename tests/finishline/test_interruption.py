"""A trial that is killed at any moment goes on as if nothing had happened."""

import csv
import itertools
import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from finishline.errors import Status

# With so small a learning rate no target is reached, and the run has a fixed length.
POINT = {
    "learning_rate": 1e-6,
    "beta1": 0.9,
    "beta2": 0.999,
    "weight_decay": 0.01,
    "warmup_factor": 0.05,
}
SHORT, LONG = 300, 1500
KILLS = 10


@pytest.fixture
def make_digits_runner(make_runner, tmp_path):
    space = tmp_path / "space.json"
    space.write_text(json.dumps([POINT]))

    def make(name: str, framework: str, steps: int):
        return make_runner(
            name,
            framework=framework,
            workload="digits",
            submission_path="reference_submissions/nadamw",
            tuning_search_space=space,
            max_global_steps=steps,
        )

    return make


def wait_until(process: subprocess.Popen, is_so, timeout: float = 60) -> bool:
    """Looks as often as it can; False if the process has ended before."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        if is_so():
            return True
        time.sleep(0.0002)
    return False


def wait_for_moment(moment: str, runner, process, processes, rng: random.Random) -> None:
    """Waits until the trial is where it shall be killed."""
    exchange = f"finishline-{process.pid}-*"
    if not wait_until(process, lambda: any(Path("/dev/shm").glob(f"{exchange}/snapshot*"))):
        return
    time.sleep(rng.uniform(0, 2.5))
    if moment == "checkpoint":
        wait_until(process, lambda: any(runner.run_dir.glob("checkpoints/.tmp_*")), 3)
    elif moment == "evaluation":
        wait_until(process, lambda: processes.is_frozen(process), 3)
    elif moment == "snapshot":
        newest = max(Path("/dev/shm").glob(f"{exchange}/snapshot*"))
        before = newest.stat().st_mtime_ns
        wait_until(process, lambda: newest.stat().st_mtime_ns != before, 3)


def assert_whole(runner, resumes: int) -> None:
    """Nothing is lost or doubled in the record, and the views agree with it."""
    evaluations = runner.events_of("evaluation")
    steps = [event["step"] for event in evaluations]
    assert steps == sorted(set(steps))
    assert len(runner.events_of("resumed")) == resumes == runner.meta["resumes"]
    with open(runner.run_dir / "eval_measurements.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["global_step"]) for row in rows] == steps
    for before, after in itertools.pairwise(evaluations):
        assert before["ledger"]["submission"] < after["ledger"]["submission"]
    checkpointed = [event["step"] for event in runner.events_of("resumed") if event["step"]]
    assert set(checkpointed) <= set(steps)  # what was saved before a kill was measured after it


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_ten_kills_leave_the_result_bit_identical(make_digits_runner, processes, framework):
    whole = make_digits_runner("whole", framework, LONG)
    assert whole.run()[0] == Status.BUDGET_SPENT.exit_code
    killed = make_digits_runner("killed", framework, LONG)
    rng = random.Random(0)
    victims = itertools.cycle(["worker", "referee", "both"])
    moments = itertools.cycle(["any", "checkpoint", "evaluation", "snapshot"])
    kills = 0
    process = killed.start()
    for victim, moment in itertools.islice(zip(victims, moments, strict=False), KILLS):
        wait_for_moment(moment, killed, process, processes, rng)
        if process.poll() is not None:
            break
        processes.kill(process, victim)
        kills += 1
        process = killed.start(resume=True)
    output, _ = process.communicate(timeout=300)
    assert kills >= 3, "the trial ended before it could be killed often enough"
    assert process.returncode == Status.BUDGET_SPENT.exit_code, output
    assert_whole(killed, resumes=kills)
    assert killed.final_snapshot() == whole.final_snapshot()


@pytest.mark.parametrize("damage", ["truncated", "bit flipped"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(make_digits_runner, processes, damage):
    runner = make_digits_runner("run", "pytorch", LONG)
    process = runner.start()
    checkpoints = "*/study_0/*/trial_1/checkpoints/step_*"
    assert wait_until(process, lambda: len(list(runner.experiment.glob(checkpoints))) == 2)
    processes.kill(process, "both")
    older, newest = sorted((runner.run_dir / "checkpoints").glob("step_*"))[-2:]
    state = newest / "state_0.bin"
    content = bytearray(state.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    state.write_bytes(content)
    steps = int(newest.name.removeprefix("step_")) + 50
    code, output = runner.run(resume=True, max_global_steps=steps)
    assert code == Status.BUDGET_SPENT.exit_code, output
    assert f"{newest.name} cannot be used" in output
    (resumed,) = runner.events_of("resumed")
    assert resumed["step"] == int(older.name.removeprefix("step_"))
    whole = make_digits_runner("whole", "pytorch", steps)
    whole.run()
    assert runner.final_snapshot() == whole.final_snapshot()


def test_ctrl_c_ends_cleanly_and_names_the_command(make_digits_runner):
    runner = make_digits_runner("run", "pytorch", 100_000)
    process = runner.start()
    assert wait_until(process, lambda: any(runner.experiment.glob("**/checkpoints/step_*")))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == Status.INTERRUPTED.exit_code
    assert "Traceback" not in output
    assert re.search(r"--resume --experiment_name=run", output)
    assert runner.meta["status"] == Status.INTERRUPTED
    code, output = runner.run(resume=True, max_global_steps=runner.meta["step"] + 20)
    assert code == Status.BUDGET_SPENT.exit_code, output


def test_a_finished_trial_is_neither_run_again_nor_overwritten(make_digits_runner):
    runner = make_digits_runner("run", "pytorch", 10)
    assert runner.run()[0] == Status.BUDGET_SPENT.exit_code
    before = (runner.run_dir / "events.jsonl").read_bytes()
    code, output = runner.run()
    assert code == 2
    assert "--resume" in output
    assert "--overwrite" in output
    code, output = runner.run(resume=True)
    assert code == Status.BUDGET_SPENT.exit_code
    assert "already" in output
    assert (runner.run_dir / "events.jsonl").read_bytes() == before
    assert runner.run(overwrite=True)[0] == Status.BUDGET_SPENT.exit_code
    assert (runner.run_dir / "events.jsonl").read_bytes() != before


def test_a_full_disk_corrupts_nothing(make_runner, tmp_path, data_dir):
    """On a disk of 1 MB the checkpoints soon find no room; the trial goes on without them."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        (disk / "ballast").write_bytes(b"\0" * 850_000)
        runner = make_runner(
            framework="pytorch",
            workload="digits",
            submission_path="reference_submissions/nadamw",
            experiment_dir=disk,
            max_global_steps=SHORT,
        )
        runner.experiment = disk / "run"
        code, output = runner.run()
        assert "was not written" in output
        assert code in (Status.BUDGET_SPENT.exit_code, Status.TARGET_REACHED.exit_code)
        assert runner.events_of("evaluation")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="needs /proc")
def test_an_unwritable_directory_is_told_before_training(make_runner):
    runner = make_runner(
        framework="jax",
        workload="digits",
        submission_path="reference_submissions/nadamw",
        experiment_dir="/proc/finishline",
    )
    started = time.monotonic()
    code, output = runner.run()
    assert code == 2
    assert "/proc/finishline" in output
    assert "--experiment_dir" in output
    assert time.monotonic() - started < 5
