"""A trial that is killed at any moment goes on as if nothing had happened."""

import collections
import contextlib
import csv
import itertools
import json
import os
import random
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from finishline import checkpoints, records
from finishline.clock import Account
from finishline.errors import InfrastructureError, Status
from finishline.processes import ProcessTree
from finishline.records import EventLog, RunDirectory, read_events
from finishline.recovery import recover

ROOT = Path(__file__).resolve().parents[2]

# With so small a learning rate no target is reached.
POINT = {
    "learning_rate": 1e-7,
    "beta1": 0.9,
    "beta2": 0.999,
    "weight_decay": 0.01,
    "warmup_factor": 0.05,
}
ENDLESS = 10**6  # steps
PERIOD = 0.4  # seconds
EVALUATION = b'"event": "evaluation"'
MOMENTS = ("any", "training", "snapshot", "checkpoint", "evaluation")

# Put after a reference submission. Every step notes what it was given. The learning rate goes up
# and down for ever, and the state has 16 MB, so that kills find it half written.
NOTING = """
import os
import zlib
import numpy as np

_notes = os.open(os.environ["TEST_NOTES"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
_rank = os.environ.get("RANK", "0")
_init, _update = init_optimizer_state, update_params

def get_batch_size(workload_name):
    return 16  # quick steps

def data_selection(workload, input_queue, optimizer_state, current_param_container, model_state,
                   hyperparameters, global_step, rng):
    batch = next(input_queue)
    given = [np.asarray(batch[name]).tobytes() for name in sorted(batch)] + [np.asarray(rng)]
    checksum = zlib.crc32(b"".join(given))
    os.write(_notes, f"{_rank} {global_step} {checksum}\\n".encode())
    if workload.metrics_logger is not None and global_step % 10 == 0:
        workload.metrics_logger.append_scalar_metrics({"checksum": checksum}, global_step)
    return batch

def _factor(step):
    return 1 + step % 7
"""
NOTING_BY_FRAMEWORK = {
    "jax": """
def _schedule(hyperparameters, step_hint):
    return lambda step: hyperparameters.learning_rate * _factor(step)

recipe.warmup_cosine = _schedule

def init_optimizer_state(*arguments):
    return _init(*arguments), np.zeros(2**22, np.float32)

def update_params(optimizer_state, **arguments):
    inner, ballast = optimizer_state
    inner, params, model_state = _update(optimizer_state=inner, **arguments)
    return (inner, ballast), params, model_state
""",
    "pytorch": """
recipe.warmup_cosine = lambda hyperparameters, step_hint: _factor

def init_optimizer_state(*arguments):
    return _init(*arguments) | {"ballast": torch.zeros(2**22)}
""",
}


# Runs the command line in its arguments.
WITH_CHANGES = """
import dataclasses, runpy, sys
from finishline import study

def find_workload(name, find=study.find_workload):
    workload = find(name)
    return dataclasses.replace(workload, {changes})

study.find_workload = find_workload
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def make_digits_runner(make_runner, tmp_path):
    """A function that makes a ``Runner`` of ``nadamw``, or of a variant of it."""
    space = tmp_path / "space.json"
    space.write_text(json.dumps([POINT]))

    def make(name: str, framework: str, steps: int, more_source: str = "", **flags: object):
        reference = ROOT / "reference_submissions" / "nadamw" / framework / "submission.py"
        path = tmp_path / "nadamw" / "submission.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(reference.read_text() + more_source)
        return make_runner(
            name,
            framework=framework,
            workload="digits",
            submission_path=path,
            tuning_search_space=space,
            max_global_steps=steps,
            **flags,
        )

    return make


@pytest.fixture
def notes():
    """A folder to which workers can write."""
    with tempfile.TemporaryDirectory(prefix="notes-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def make_noting_runner(make_digits_runner, monkeypatch, notes):
    """A function that makes a ``Runner`` which writes to the file ``name`` in ``notes``.

    Its evaluations come more often, so that the kills take less time.
    """

    def make(name: str, framework: str, steps: int, **flags: object):
        monkeypatch.setenv("TEST_NOTES", str(notes / name))
        source = NOTING + NOTING_BY_FRAMEWORK[framework]
        runner = make_digits_runner(name, framework, steps, source, **flags)
        change_workload(runner, f"eval_period_time_sec={PERIOD}")
        return runner

    return make


def change_workload(runner, changes: str) -> None:
    """From now on ``runner`` has a referee whose workload has other ``changes`` (source)."""
    plain, code = runner.command, WITH_CHANGES.format(changes=changes)
    runner.command = lambda **more: [sys.executable, "-c", code, *plain(**more)[1:]]


def wait_until(is_so, timeout: float = 60) -> bool:
    """Looks as often as it can."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if is_so():
            return True
        time.sleep(0.0002)
    return False


def has_ended(pid: int) -> bool:
    return state_of(pid) in ("Z", "X", "")


def state_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return ""


def changed_at(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


class Attempt:
    """A trial's process that is to be killed, and what can be seen of it from outside."""

    def __init__(self, runner, processes, **flags: object):
        self._runner = runner
        self._processes = processes
        self._older = self._checkpoints()
        self._races = self._log().count(b'"event": "batch_size"')
        self._state_written = -1  # not yet in the race
        self.process = runner.start(**flags)

    def _log(self) -> bytes:
        with contextlib.suppress(OSError, StopIteration):
            return (self._runner.run_dir / records.EVENTS_FILE).read_bytes()
        return b""

    def _checkpoints(self) -> list[str]:
        with contextlib.suppress(OSError, StopIteration):
            return sorted(os.listdir(self._runner.run_dir / records.CHECKPOINTS_FOLDER))
        return []

    def _exchange(self) -> Path:
        folders = Path("/dev/shm").glob(f"finishline-{self.process.pid}-*")
        return next(folders, Path("/dev/shm/finishline"))

    def is_racing(self) -> bool:
        if self._state_written < 0:
            if self._log().count(b'"event": "batch_size"') <= self._races:
                return False
            self._state_written = changed_at(self._exchange() / "state_0.bin")
        return True

    def moment(self) -> str:
        """What the trial is doing: start, training, snapshot, checkpoint or evaluation.

        It can be told from the files, so also after a kill.
        """
        if not self.is_racing():
            return "start"
        found = self._checkpoints()
        is_new = found[-1:] != self._older[-1:]
        if found and (found[0].startswith(".tmp_") or (is_new and len(found) > 2)):
            return "checkpoint"
        evaluated = re.findall(EVALUATION + rb', "step": (\d+)', self._log())
        if is_new and int(found[-1].removeprefix("step_")) > int((evaluated or [b"-1"])[-1]):
            return "evaluation"
        state = changed_at(self._exchange() / "state_0.bin")
        if state > max(self._state_written, changed_at(self._exchange() / "snapshot.safetensors")):
            return "snapshot"
        return "training"

    def wait_for(self, moment: str, rng: random.Random) -> None:
        """Waits for a random time and then until the trial is where it shall be killed."""
        if moment == "any":
            time.sleep(rng.uniform(0, 5))
            self._await(lambda: self._processes.descendants(self.process.pid))
            return
        self._await(self.is_racing)
        passed = self._log().count(EVALUATION) + rng.randint(0, 2)
        self._await(lambda: self._log().count(EVALUATION) >= passed)
        time.sleep(rng.uniform(0, PERIOD))
        self._await(lambda: self.moment() == moment)

    def _await(self, is_so) -> None:
        if not wait_until(lambda: self.process.poll() is not None or is_so()):
            self.process.kill()
        if self.process.poll() is not None:
            output, _ = self.process.communicate(timeout=60)
            pytest.fail(f"The trial did not come to where it was to be killed:\n{output}")

    def kill(self, victim: str) -> str:
        """Kills 'worker', 'referee', 'both' or a rank; returns what the trial was doing."""
        assert self.process.poll() is None
        workers = self._processes.descendants(self.process.pid)
        if victim in ("referee", "both"):
            self.process.kill()
        else:
            self.process.send_signal(signal.SIGSTOP)  # so that it leaves everything as it is
        if victim != "referee":
            killed = [pid for pid in workers if not victim.isdigit() or is_rank(pid, victim)]
            assert killed
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        if victim in ("referee", "both"):
            self.process.wait(60)
            assert wait_until(lambda: all(map(has_ended, workers)))  # a worker never runs alone
            moment = self.moment()
        else:
            assert wait_until(lambda: state_of(self.process.pid) == "T")
            moment = self.moment()
            self.process.send_signal(signal.SIGCONT)
        output, _ = self.process.communicate(timeout=60)
        is_alive = victim not in ("referee", "both")
        expected = Status.INFRASTRUCTURE_ERROR.exit_code if is_alive else -signal.SIGKILL
        assert self.process.returncode == expected, output
        return moment


def is_rank(pid: int, rank: str) -> bool:
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return f"RANK={rank}".encode() in environment


def kill_often(runner, processes, plan, seed: str) -> collections.Counter:
    """Starts and kills a trial again and again; returns how often by victim and moment.

    Each line of the plan is a victim and a moment, and is repeated until the moment was met.
    """
    rng = random.Random(seed)
    kills: collections.Counter = collections.Counter()
    for victim, wanted in plan:
        while True:
            evaluations = counted(runner) if kills else []
            attempt = Attempt(runner, processes, resume=bool(kills))
            attempt.wait_for(wanted, rng)
            met = attempt.kill(victim)
            kills[victim, met] += 1
            assert counted(runner)[: len(evaluations)] == evaluations  # none is lost
            if wanted in ("any", met):
                break
            assert kills.total() < 2 * len(plan), kills
    for line, count in collections.Counter(plan).items():
        assert line[1] == "any" or kills[line] >= count
    return kills


def counted(runner) -> list[tuple]:
    """The evaluations in the record that count."""
    with contextlib.suppress(StopIteration, FileNotFoundError):
        return [(event["step"], event["metrics"]) for event in records.evaluations(runner.events)]
    return []


def assert_whole(runner, kills: collections.Counter) -> None:
    """Nothing is lost or doubled in the record, and the views agree with it."""
    evaluations = runner.events_of("evaluation")
    steps = [event["step"] for event in evaluations]
    assert steps == sorted(set(steps))
    resumes = [event["step"] for event in runner.events_of("resumed")]
    # A kill at the start can come before the record says anything.
    started = sum(count for (_, moment), count in kills.items() if moment != "start")
    assert started <= len(resumes) == runner.meta["resumes"] <= kills.total()
    assert [int(row["global_step"]) for row in table(runner, records.EVALS_FILE)] == steps
    for before, after in itertools.pairwise(evaluations):
        assert before["ledger"]["submission"] < after["ledger"]["submission"]
    # What was saved before a kill was measured after it.
    assert set(resumes) <= {0, *steps}
    assert not list(runner.run_dir.glob("checkpoints/.tmp_*"))
    assert len(list(runner.run_dir.glob("checkpoints/*"))) == 2


def table(runner, name: str) -> list[dict[str, str]]:
    with open(runner.run_dir / name) as file:
        return list(csv.DictReader(file))


def scalars(runner) -> list[dict[str, str]]:
    """What the submission has logged, in full precision."""
    rows = table(runner, records.MEASUREMENTS_FILE)
    own = [{name: value for name, value in row.items() if value} for row in rows]
    return [row for row in own if "score" not in row]


def noted(path: Path) -> dict[tuple[str, str], set[str]]:
    """Checksums of what the steps were given, by rank and step, from all attempts."""
    notes: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
    for line in path.read_text().splitlines():
        rank, step, checksum = line.split()
        notes[rank, step].add(checksum)
    return notes


def check_kills(make_noting_runner, processes, notes, framework, plan, **flags):
    """Kills a trial by the plan, lets it end, and compares it with one that was left alone."""
    killed = make_noting_runner("killed", framework, ENDLESS, **flags)
    kills = kill_often(killed, processes, plan, seed=f"{framework} {plan}")
    steps = 100 + max(int(step) for _, step in noted(notes / "killed"))
    code, output = killed.run(resume=True, max_global_steps=steps)
    assert code == Status.BUDGET_SPENT.exit_code, output
    whole = make_noting_runner("whole", framework, steps, **flags)
    code, output = whole.run()
    assert code == Status.BUDGET_SPENT.exit_code, output
    print(f"{framework}, {steps:,} steps, kills by victim and moment: {dict(kills)}")

    assert killed.final_snapshot() == whole.final_snapshot()
    given = noted(notes / "whole")
    assert len(given) == steps * flags.get("num_devices", 1)
    assert noted(notes / "killed") == given
    assert scalars(killed) == scalars(whole)
    assert_whole(killed, kills)


def test_three_kills_leave_the_result_bit_identical(make_noting_runner, processes, notes):
    plan = [("worker", "evaluation"), ("referee", "checkpoint"), ("both", "snapshot")]
    check_kills(make_noting_runner, processes, notes, "pytorch", plan)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "referee", "both"])
@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_ten_kills_leave_the_result_bit_identical(
    make_noting_runner, processes, notes, framework, victim
):
    plan = [(victim, moment) for moment in MOMENTS * 2]
    check_kills(make_noting_runner, processes, notes, framework, plan)


@pytest.mark.slow
def test_killed_ranks(make_noting_runner, processes, notes):
    """A rank that was killed takes the others with it, and is not the submission's fault."""
    plan = [("1", "training"), ("0", "training"), ("1", "evaluation"), ("both", "checkpoint")]
    check_kills(make_noting_runner, processes, notes, "pytorch", plan, num_devices=2)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(make_digits_runner, processes):
    killed = make_digits_runner("killed", "pytorch", ENDLESS)
    process = killed.start()
    pattern = "*/study_0/*/trial_1/checkpoints/step_*"
    assert wait_until(lambda: len(list(killed.experiment.glob(pattern))) == 2)
    processes.kill(process, "both")
    older, newest = sorted(path.name for path in killed.experiment.glob(pattern))[-2:]
    steps = int(newest.removeprefix("step_")) + 20
    whole = make_digits_runner("whole", "pytorch", steps)
    whole.run()
    for damage in ("truncated", "flipped"):
        runner = make_digits_runner(damage, "pytorch", steps)
        shutil.copytree(killed.experiment, runner.experiment)
        state = runner.run_dir / "checkpoints" / newest / "state_0.bin"
        content = bytearray(state.read_bytes())
        if damage == "truncated":
            del content[len(content) // 2 :]
        else:
            content[len(content) // 2] ^= 1
        state.write_bytes(content)
        code, output = runner.run(resume=True)
        assert code == Status.BUDGET_SPENT.exit_code, output
        assert f"{newest} cannot be used (state_0.bin is damaged). The one before" in output
        (resumed,) = runner.events_of("resumed")
        assert resumed["step"] == int(older.removeprefix("step_"))
        assert runner.final_snapshot() == whole.final_snapshot()


GIVING_UP = """
from finishline import spec

_update = update_params

def update_params(global_step, **arguments):
    if global_step == 20:
        raise spec.TrainingCompleteError
    return _update(global_step=global_step, **arguments)
"""


@pytest.mark.parametrize(
    "status", [Status.TARGET_REACHED, Status.BUDGET_SPENT, Status.TRAINING_COMPLETE]
)
def test_a_kill_after_the_last_evaluation_changes_nothing(make_digits_runner, status):
    """It leaves a log without its end, or one with its end but a ``meta.json`` without."""
    more_source = GIVING_UP if status is Status.TRAINING_COMPLETE else ""
    runner = make_digits_runner("run", "pytorch", 30, more_source)
    if status is Status.TARGET_REACHED:
        change_workload(runner, "target=dataclasses.replace(workload.target, validation=0.0)")
    code, output = runner.run()
    assert code == status.exit_code, output
    path = runner.run_dir / records.EVENTS_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    evaluations, (end,) = runner.events_of("evaluation"), runner.events_of("trial_ended")
    meta = runner.meta
    is_evaluation = [EVALUATION in line for line in lines]
    for log in (lines[: len(lines) - is_evaluation[::-1].index(True)], lines):
        path.write_bytes(b"".join(log))
        (runner.run_dir / records.META_FILE).write_text(json.dumps({**meta, "status": "running"}))
        code, output = runner.run(resume=True)
        assert code == status.exit_code, output
        assert runner.events_of("evaluation") == evaluations
        (again,) = runner.events_of("trial_ended")
        kept = ("status", "message", "step")
        assert [again[name] for name in kept] == [end[name] for name in kept]
        if status is Status.TARGET_REACHED:
            assert again["submission_time"] == end["submission_time"]
        assert runner.meta["status"] == status
    assert runner.meta == meta


def test_what_a_dead_worker_was_charged_stays_charged(tmp_path):
    """Also if the next attempt is killed before it has a checkpoint of its own."""
    run = RunDirectory(tmp_path)
    run.record("trial_started")
    checkpoints.save(run.checkpoints, 50, {}, {"ledger": {Account.SUBMISSION: 5.0}})
    run.record("trial_ended", step=70, submission_time=9.0, **ended_by_death(9.0))
    first = recover(run)
    assert first.ledger[Account.SUBMISSION] == 9.0
    assert (first.lost_steps, first.lost_seconds) == (20, 4.0)
    run.record("resumed", step=50, ledger=first.ledger)
    run.record("trial_started")
    assert recover(run).ledger[Account.SUBMISSION] == 9.0
    checkpoints.save(run.checkpoints, 90, {}, {"ledger": {Account.SUBMISSION: 12.0}})
    assert recover(run).ledger[Account.SUBMISSION] == 12.0
    run.close()


def ended_by_death(seconds: float) -> dict[str, object]:
    return {
        "status": Status.INFRASTRUCTURE_ERROR,
        "message": "The worker was killed.",
        "ledger": {Account.SUBMISSION: seconds},
    }


def test_a_process_killed_while_frozen_has_broken_no_rule():
    """It runs a little before it is gone, the longer the more memory it has."""
    for attempt in range(10):
        tree = ProcessTree()
        code = "x = b'x' * 2**28; print(flush=True); input()"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", code], **pipes) as child:
            child.stdout.readline()
            tree.freeze()
            child.kill()
            time.sleep(attempt / 1000)
            with contextlib.suppress(InfrastructureError):  # or it does not show yet
                tree.thaw()


def test_ctrl_c_ends_cleanly_and_names_the_command(make_digits_runner):
    runner = make_digits_runner("run", "pytorch", ENDLESS)
    process = runner.start()
    assert wait_until(lambda: any(runner.experiment.glob("**/checkpoints/step_*")))
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == Status.INTERRUPTED.exit_code
    assert "Traceback" not in output
    assert runner.meta["status"] == Status.INTERRUPTED
    command = shlex.split(re.search("Continue with: python (.*)", output)[1])
    steps = runner.meta["step"] + 20
    ended = subprocess.run(
        [sys.executable, *command, f"--max_global_steps={steps}"], capture_output=True, text=True
    )
    assert ended.returncode == Status.BUDGET_SPENT.exit_code, ended.stdout
    assert len(runner.events_of("resumed")) == 1
    assert runner.meta["step"] == steps


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


@pytest.mark.filterwarnings("ignore:Exception ignored")  # the lock of who is killed here
def test_an_overwriting_that_was_killed_leaves_no_checkpoints_alone(tmp_path, monkeypatch):
    """A new trial would take them for its own."""
    run = RunDirectory(tmp_path)
    run.record("trial_started")
    run.checkpoints.mkdir()
    run.close()
    monkeypatch.setattr(shutil, "rmtree", lambda *arguments, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        RunDirectory(tmp_path, overwrite=True)
    assert (tmp_path / records.EVENTS_FILE).exists()


def test_a_damaged_log_is_told_in_one_sentence(make_digits_runner):
    runner = make_digits_runner("run", "pytorch", 10)
    runner.run()
    path = runner.run_dir / records.EVENTS_FILE
    path.write_bytes(path.read_bytes().replace(b"trial_started", b"trial_startes"))
    code, output = runner.run(resume=True)
    assert code == 2
    assert "does not continue the log" in output
    assert "--overwrite" in output
    assert "Traceback" not in output


def test_a_line_that_found_no_room_is_taken_back(tmp_path):
    log = EventLog(tmp_path / "events.jsonl")
    log.append("first")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, ((tmp_path / "events.jsonl").stat().st_size + 10, before[1])
    )
    try:
        with pytest.raises(InfrastructureError, match="cannot be written"):
            log.append("second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.append("third")
    log.close()
    kinds = [event["event"] for _, event in read_events(tmp_path / "events.jsonl")]
    assert kinds == ["first", "third"]


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
            max_global_steps=300,
        )
        runner.experiment = disk / "run"
        code, output = runner.run()
        assert "was not written" in output, output
        assert code in (Status.BUDGET_SPENT.exit_code, Status.TARGET_REACHED.exit_code), output
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
