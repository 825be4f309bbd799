"""docker/score.py: from a folder of submissions to a leaderboard, by flags or a TOML file."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCORE = [sys.executable, str(ROOT / "docker" / "score.py")]


def run(*arguments: str, script: list[str] = SCORE, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [*script, *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout + done.stderr


def assert_one_sentence(output: str, *words: str) -> None:
    lines = [line for line in output.splitlines() if line.strip()]
    assert lines[-1].startswith("error: ")
    assert "Traceback" not in output
    for word in words:
        assert word in lines[-1], output


def test_help_has_the_flags_of_competition():
    code, output = run("--help")
    assert code == 0
    _, other = run("--help", script=[sys.executable, str(ROOT / "competition.py")])
    flags = {line.split(":")[0] for line in other.splitlines() if line.startswith("  --")}
    assert flags == {line.split(":")[0] for line in output.splitlines() if line.startswith("  --")}
    assert "  --docker_memory" in flags


def test_no_engine_is_told_before_anything_is_written(tmp_path):
    host = f"unix://{tmp_path}/none"
    code, output = run(f"--experiment_dir={tmp_path}/out", "--submissions=nadamw", DOCKER_HOST=host)
    assert code == 2
    assert_one_sentence(output, host, "DOCKER_HOST")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def submissions(tmp_path):
    """A folder with three submissions: two for PyTorch, of which one asks for more, and one for
    JAX."""
    source = ROOT / "reference_submissions" / "nadamw"
    for name, framework in {"one": "pytorch", "two": "pytorch", "three": "jax"}.items():
        folder = tmp_path / "submissions" / name
        (folder / framework).mkdir(parents=True)
        for part in (f"{framework}/submission.py", "tuning_search_space.json"):
            (folder / part).write_text((source / part).read_text())
    (tmp_path / "submissions" / "README.md").write_text("Not a submission.")
    return tmp_path / "submissions"


@pytest.mark.docker
def test_three_submissions_from_a_folder_to_the_leaderboard(
    engine, base_image, worker_image, submissions, data_dir, tmp_path
):
    (submissions / "two" / "requirements.txt").write_text("packaging==26.3\n")
    file = submissions / "two" / "pytorch" / "submission.py"
    file.write_text(f"{file.read_text()}\nimport packaging.version\n")
    path = tmp_path / "competition.toml"
    path.write_text(
        f'submissions = "{submissions}"\nworkloads = ["digits", "quadratic_deep"]\n'
        f'num_tuning_trials = 1\ndata_dir = "{data_dir}"\nexperiment_dir = "{tmp_path}/out"\n'
        f'docker_base = "{base_image}"\ndocker_pids = 512\n'
    )
    started = time.monotonic()
    code, output = run(f"--config={path}")
    assert code == 0, output
    assert time.monotonic() - started < 600
    root = tmp_path / "out" / "competition"
    page = (root / "leaderboard" / "leaderboard.html").read_text()
    images = json.loads((root / "images.json").read_text())
    for name, framework in {"one": "pytorch", "two": "pytorch", "three": "jax"}.items():
        assert f"{name}_{framework}" in page
        for workload in ("digits", "quadratic_deep"):
            run_dir = root / f"{name}_{framework}" / "study_0" / f"{workload}_{framework}"
            meta = json.loads((run_dir / "trial_1" / "meta.json").read_text())
            assert meta["executor"] == "docker"
            assert meta["docker"]["image"] == images[str(submissions / name)]["image"]
            assert meta["docker"]["limits"]["pids"] == 512
    assert "packaging==26.3" in images[str(submissions / "two")]["lock"]
    assert len({entry["image"] for entry in images.values()}) == 2
    again, output = run(f"--config={path}")
    assert again == 0
    assert output.count("done already") == 6
    assert "Building" not in output
    engine.images.remove(images[str(submissions / "two")]["image"], force=True)


@pytest.mark.docker
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--docker_image=nosuch/image:1"], ["nosuch/image:1", "cannot be pulled"]),
        (["--docker_image=finishline-base:test"], ["finishline-base:test", "no image of workers"]),
        (["--docker_base=nosuch/base:1"], ["nosuch/base:1", "cannot be pulled"]),
    ],
)
def test_bad_images_are_told(base_image, arguments, words, data_dir, tmp_path):
    more = ["--submissions=nadamw", f"--data_dir={data_dir}", f"--experiment_dir={tmp_path}/out"]
    code, output = run(*arguments, *more)
    assert code == 2
    assert_one_sentence(output, *words)
    assert not list((tmp_path / "out").rglob("*.json*"))


@pytest.mark.docker
def test_requirements_that_move_a_pin_end_it_before_the_first_trial(
    engine, submissions, data_dir, tmp_path
):
    (submissions / "one" / "requirements.txt").write_text("torch==2.1\n")
    code, output = run(
        f"--submissions={submissions}",
        f"--data_dir={data_dir}",
        f"--experiment_dir={tmp_path}/out",
    )
    assert code == 2
    assert_one_sentence(output, "one/requirements.txt, line 1", "torch==2.1", "torch==2.13.0")
    assert not list((tmp_path / "out").rglob("*.json*"))
