"""Trials in containers: the same results as on this machine, within their limits, on record."""

import hashlib
import json
from pathlib import Path

import pytest

from finishline.errors import Status

pytestmark = pytest.mark.docker

ROOT = Path(__file__).resolve().parents[2]
POINT = {
    "learning_rate": 1e-3,
    "beta1": 0.9,
    "beta2": 0.999,
    "weight_decay": 0.01,
    "warmup_factor": 0.05,
}
# Put after a reference submission.
LOOKING = """
import os, socket
_init = init_optimizer_state

def init_optimizer_state(*arguments):
    for root in ("/data", "/submission", "/exchange"):
        for folder, _, files in os.walk(root):
            print("saw", [os.path.join(folder, name) for name in files], flush=True)
    print("rights", os.getuid(), open("/proc/self/status").read().split("CapEff:")[1].split()[0])
    print("networks", [name for _, name in socket.if_nameindex()])
    for path in ("/x", "/data/digits/train/x", os.environ["FINISHLINE_SUBMISSION"], "/etc/passwd"):
        try:
            open(path, "a")
            print("wrote", path)
        except OSError:
            pass
    print("hidden", os.environ.get("TEST_SECRET"), flush=True)
    return _init(*arguments)
"""
GREEDY = """
def init_optimizer_state(*arguments):
    import numpy as np
    blocks = []
    while True:
        blocks.append(np.ones(2**24))
"""
SUICIDAL = """
def init_optimizer_state(*arguments):
    import os, signal
    os.kill({pid}, signal.{signal})
    os._exit({code})
"""


@pytest.fixture
def make_digits_runner(make_runner, tmp_path, worker_image):
    """A function that makes a ``Runner`` of ``nadamw``, or of a variant, in a container."""
    space = tmp_path / "space.json"
    space.write_text(json.dumps([POINT]))

    def make(name, framework="pytorch", more_source="", **flags):
        reference = ROOT / "reference_submissions" / "nadamw" / framework / "submission.py"
        path = tmp_path / "submissions" / name / "submission.py"
        path.parent.mkdir(parents=True)
        path.write_text(reference.read_text() + more_source)
        flags = {"executor": "docker", "docker_image": worker_image, "on_drift": "off"} | flags
        if flags["executor"] == "local":
            flags = {key: value for key, value in flags.items() if "docker" not in key}
        return make_runner(
            name,
            framework=framework,
            workload="digits",
            submission_path=path,
            tuning_search_space=space,
            max_global_steps=20,
            **flags,
        )

    return make


@pytest.mark.parametrize(("framework", "num_devices"), [("jax", 1), ("pytorch", 1), ("pytorch", 2)])
def test_a_container_gives_what_this_machine_gives(
    make_digits_runner, framework, num_devices, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    results = []
    for executor in ("local", "docker"):
        name = "twin"  # seeds depend on the submission's name
        flags = {"executor": executor, "num_devices": num_devices}
        runner = make_digits_runner(f"{executor}/{name}", framework, **flags)
        code, output = runner.run()
        assert code == Status.BUDGET_SPENT.exit_code, output
        evaluation = runner.events_of("evaluation")[-1]
        assert evaluation["step"] == 20
        results.append((evaluation["metrics"], hashlib.sha256(runner.final_snapshot()).hexdigest()))
    assert results[0] == results[1]


def test_what_a_container_has_is_small_and_on_record(make_digits_runner, monkeypatch, worker_image):
    monkeypatch.setenv("TEST_SECRET", "secret")
    runner = make_digits_runner(
        "looking", more_source=LOOKING, docker_memory="2g", docker_pids=300, docker_cpus="0"
    )
    code, output = runner.run()
    assert code == Status.BUDGET_SPENT.exit_code, output
    _check_sight((runner.run_dir / "worker.log").read_text().splitlines())
    worker = runner.meta["worker"]
    assert worker["ended"] == {"cause": "stopped", "text": "was stopped by the referee"}
    started = worker["started"]
    expected = {
        "network": "none",
        "root_is_read_only": True,
        "is_privileged": False,
        "capabilities_added": None,
        "capabilities_dropped": ["ALL"],
        "security_options": ["no-new-privileges:true"],
        "pids_limit": 300,
        "memory_bytes": 2**31,
        "memory_and_swap_bytes": 2**31,
        "cpus": "0",
        "ipc": "private",
        "log_driver": "none",
        "devices": None,
        "gpus": [],
    }
    assert {name: started[name] for name in expected} == expected
    assert started["image"]["id"] == worker_image
    writable = {mount["destination"]: mount["is_writable"] for mount in started["mounts"]}
    assert list(writable.values()).count(True) == 1
    assert writable.pop("/exchange")
    assert len(writable) == 2
    assert writable["/data/digits/train"] is False
    assert runner.meta["peak_memory_bytes"]["worker"] > 2**26


def _check_sight(lines):
    told = {name: rest for name, _, rest in (line.partition(" ") for line in lines)}
    seen = [path for line in lines if line.startswith("saw ") for path in eval(line[4:])]
    assert {path.split("/")[3] for path in seen if path.startswith("/data")} == {"train"}
    assert sum(path.endswith("submission.py") for path in seen) == 1
    assert told["rights"] != "0"
    assert told["rights"].endswith(" 0000000000000000")
    assert told["networks"] == "['lo']"
    assert told["hidden"] == "None"
    assert "wrote" not in told


def test_more_memory_than_given_is_the_submissions_fault(make_digits_runner):
    runner = make_digits_runner("greedy", more_source=GREEDY, docker_memory="1g")
    code, output = runner.run()
    assert code == Status.SUBMISSION_ERROR.exit_code, output
    assert "memory limit of 1 GiB (--docker_memory)" in runner.meta["message"]
    assert runner.meta["worker"]["ended"]["cause"] == "out_of_memory"


@pytest.mark.parametrize(
    ("pid", "signal", "code", "text"),
    [
        ("os.getpid()", "SIGKILL", 0, "SIGKILL, sent from within its container"),
        ("1", "SIGKILL", 137, "exited with code 63"),
    ],
)
def test_to_end_oneself_gives_no_second_try(make_digits_runner, pid, signal, code, text):
    """Neither a signal to oneself nor the exit code of who was killed looks like the machine's."""
    source = SUICIDAL.format(pid=pid, signal=signal, code=code)
    runner = make_digits_runner("suicidal", more_source=source)
    exit_code, output = runner.run()
    assert exit_code == Status.SUBMISSION_ERROR.exit_code, output
    assert text in runner.meta["message"]


def test_a_container_that_is_killed_is_continued(make_digits_runner, engine):
    source = "_init = init_optimizer_state\ndef init_optimizer_state(*arguments):\n"
    source += (
        "    import time; print('here', flush=True); time.sleep(5)\n    return _init(*arguments)\n"
    )
    runner = make_digits_runner("killed", more_source=source)
    process = runner.start()
    log = _wait(lambda: next(runner.experiment.glob("*/*/*/*/worker.log"), None))
    _wait(lambda: "here" in log.read_text())
    started = next(e for e in runner.events_of("worker") if e["when"] == "started")
    engine.containers.get(started["container"]).kill()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == Status.INFRASTRUCTURE_ERROR.exit_code, output
    assert runner.meta["worker"]["ended"]["cause"] == "killed"
    assert "from outside its container" in runner.meta["message"]
    code, output = runner.run(resume=True)
    assert code == Status.BUDGET_SPENT.exit_code, output
    assert "from outside its container" in runner.events_of("resumed")[0]["cause"]


def _wait(condition, seconds=120):
    import time

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise TimeoutError
