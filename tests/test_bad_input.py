"""Bad input: one sentence that names the thing and the remedy, quickly, and nothing is left."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NADAMW = ROOT / "reference_submissions" / "nadamw"
TEMPLATE = ROOT / "reference_submissions" / "template"  # has all functions in its own source
GOOD_POINT = {
    "learning_rate": 1e-3,
    "beta1": 0.9,
    "beta2": 0.99,
    "weight_decay": 0.0,
    "warmup_factor": 0.1,
}


def run(arguments: list[str], script: str = "submission_runner.py") -> tuple[int, str, float]:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - started


def assert_one_sentence(output: str, words: tuple[str, ...]) -> None:
    assert "Traceback" not in output, output
    lines = [line for line in output.splitlines() if line.strip()]
    assert len(lines) == 1, output
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], output


def space(folder: Path, content: object) -> str:
    path = folder / "space.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return f"--tuning_search_space={path}"


def ranged(**changes: object) -> dict:
    dimension = {"min": 1e-4, "max": 1e-2, "scaling": "log"}
    return {"learning_rate": {**dimension, **changes}}


SPACES = {
    "typo in a key": ({"learning_rate": {"mni": 1, "max": 2, "scaling": "log"}}, ("mni", "min")),
    "typo in the scaling": (ranged(scaling="lgo"), ("lgo", "log")),
    "empty": ({}, ("no hyperparameters",)),
    "min over max": (ranged(min=1.0), ("learning_rate", "min")),
    "log from 0": (ranged(min=0.0), ("learning_rate", "log")),
    "NaN": ('{"learning_rate": {"min": NaN, "max": 1, "scaling": "linear"}}', ("learning_rate",)),
    "no JSON": ('{"learning_rate": ', ("line 1",)),
}

FLAGS = {
    "no such file": (["--submission_path=nosuch.py"], ("nosuch.py",)),
    "unknown workload": (["--workload=digts"], ("digts", "digits")),
    "unknown framework": (["--framework=tensorflow"], ("framework", "jax", "pytorch")),
    "unknown flag": (["--workloda=digits"], ("workloda",)),
    "stray argument": (["digits"], ("'digits'",)),
    "missing data": (["--workload=mnist"], ("mnist", "prepare")),
    "unwritable directory": (["--experiment_dir=/proc/none"], ("/proc/none", "--experiment_dir")),
    "data directory in /proc": (["--data_dir=/proc/none"], ("/proc/none", "--data_dir")),
    "a file as data directory": ([f"--data_dir={__file__}"], ("test_bad_input", "--data_dir")),
    "empty range of trials": (["--hparam_start_index=9"], ("--hparam_start_index=9",)),
    "search space under self-tuning": (
        ["--tuning_ruleset=self", "--tuning_search_space=some.json"],
        ("some.json",),
    ),
}


@pytest.fixture
def good_flags(tmp_path, data_dir):
    return {
        "framework": "jax",
        "workload": "digits",
        "submission_path": str(NADAMW),
        "data_dir": str(data_dir),
        "experiment_dir": str(tmp_path / "experiments"),
        "experiment_name": "bad",
    }


def with_flags(flags: dict, more: list[str]) -> list[str]:
    changed = {argument.split("=")[0].lstrip("-") for argument in more}
    return [f"--{name}={value}" for name, value in flags.items() if name not in changed] + more


@pytest.mark.parametrize("case", FLAGS)
def test_bad_flags(good_flags, tmp_path, case):
    arguments, words = FLAGS[case]
    code, output, seconds = run(with_flags(good_flags, arguments))
    assert code == 2
    assert_one_sentence(output, words)
    assert seconds < 4  # 2 s on a quiet machine
    assert not (tmp_path / "experiments").exists()


@pytest.mark.parametrize("case", SPACES)
def test_bad_search_spaces(good_flags, tmp_path, case):
    content, words = SPACES[case]
    code, output, seconds = run(with_flags(good_flags, [space(tmp_path, content)]))
    assert code == 2
    assert_one_sentence(output, ("space.json", *words))
    assert seconds < 4


SOURCES = {
    "missing function": (lambda s: s.replace("def data_selection", "def other"), "data_selection"),
    "wrong signature": (lambda s: s.replace("    input_queue,", "    queue,"), "input_queue"),
    "syntax error": (lambda s: s + "\ndef broken(:\n", "submission.py"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_bad_sources(good_flags, tmp_path, case):
    change, word = SOURCES[case]
    source = (TEMPLATE / "jax" / "submission.py").read_text()
    changed = change(source)
    assert changed != source
    (tmp_path / "submission.py").write_text(changed)
    arguments = [f"--submission_path={tmp_path}", "--tuning_ruleset=self"]
    code, output, seconds = run(with_flags(good_flags, arguments))
    assert code == 2
    assert_one_sentence(output, (word,))
    assert seconds < 4


def test_submission_of_the_other_framework(good_flags, tmp_path):
    shutil.copy(NADAMW / "jax" / "submission.py", tmp_path)
    arguments = [f"--submission_path={tmp_path}", "--framework=pytorch", "--tuning_ruleset=self"]
    code, output, _ = run(with_flags(good_flags, arguments))
    assert code == 2
    assert_one_sentence(output, ("--framework=jax",))


BATCH_SIZES = {"0": "positive", "-4": "positive", "16.0": "integer", "70000": "training examples"}


@pytest.mark.parametrize("size", BATCH_SIZES)
def test_bad_batch_sizes(size):
    from finishline.errors import SubmissionError
    from finishline.worker import check_batch_size

    with pytest.raises(SubmissionError, match=BATCH_SIZES[size]):
        check_batch_size(float(size) if "." in size else int(size), 997, 1)
    check_batch_size(64, 997, 2)
    with pytest.raises(SubmissionError, match="share evenly"):
        check_batch_size(63, 997, 2)


LATE = {
    "batch size": (
        (".get(workload_name, 64)", ".get(workload_name, 0)"),
        "get_batch_size returned 0",
    ),
    "None returned": (("def update_params(", "def update_params(*a, **k): pass\ndef u("), "None"),
    "an exception": (
        ("return next(input_queue)", "return next(input_queue) if global_step != 3 else 1 / 0"),
        "ZeroDivisionError",
    ),
}


@pytest.mark.parametrize("case", LATE)
def test_faults_that_only_running_shows(make_runner, tmp_path, case):
    (old, new), words = LATE[case]
    source = (TEMPLATE / "pytorch" / "submission.py").read_text()
    assert old in source
    (tmp_path / "submission.py").write_text(source.replace(old, new))
    runner = make_runner(
        framework="pytorch",
        workload="digits",
        submission_path=tmp_path,
        tuning_search_space=TEMPLATE / "tuning_search_space.json",
    )
    code, output = runner.run()
    assert code == 20
    assert words in runner.meta["message"]
    assert "finishline/trainer.py" not in output  # the traceback begins at the submission's frames


@pytest.mark.parametrize("script", ["submission_runner.py", "competition.py"])
def test_help_is_quick_and_imports_no_framework(script):
    code, output, seconds = run(["--help"], script)
    assert code == 0
    assert "--data_dir" in output
    assert seconds < 2  # 0.1 s on a quiet machine
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", str(ROOT / script), "--help"],
        capture_output=True,
        text=True,
    ).stderr
    assert "absl.flags" in loaded
    assert not {"torch", "jax", "numpy"} & {
        line.split("|")[-1].strip() for line in loaded.splitlines()
    }


COMPETITION = {
    "unknown submission": (["--submissions=nadamv"], ("nadamv", "nadamw")),
    "unknown workload": (["--workloads=digts"], ("digts", "digits")),
    "unknown suite": (["--suite=all"], ("all", "embedded")),
    "no configuration": (["--config=none.toml"], ("none.toml",)),
}


@pytest.mark.parametrize("case", COMPETITION)
def test_bad_competitions(tmp_path, case):
    arguments, words = COMPETITION[case]
    code, output, _ = run([*arguments, f"--experiment_dir={tmp_path}"], "competition.py")
    assert code == 2
    assert_one_sentence(output, words)


def test_a_typo_in_the_configuration_names_the_flag(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('workload = ["digits"]\n')
    code, output, _ = run([f"--config={path}"], "competition.py")
    assert code == 2
    assert_one_sentence(output, ("workload", "workloads", "c.toml"))


def test_a_configuration_that_is_not_utf_8_is_told(tmp_path):
    path = tmp_path / "c.toml"
    path.write_bytes(b'experiment_name = "\xff"\n')
    code, output, _ = run([f"--config={path}"], "competition.py")
    assert code == 2
    assert_one_sentence(output, ("c.toml", "TOML"))
