"""A new submission passes the checker and trains at once."""

import os
import re
import subprocess
import sys

import pytest

from finishline.checking.checker import check
from finishline.checking.folder import Folder
from finishline.errors import UserError
from finishline.frameworks import FRAMEWORKS
from finishline.new import create
from finishline.submission import REFERENCE_SUBMISSIONS

ROOT = REFERENCE_SUBMISSIONS.parent


def run(module, *arguments, cwd=ROOT):
    done = subprocess.run(
        [sys.executable, "-m", f"finishline.{module}", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=cwd,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_new_submission_trains_at_once(tmp_path, data_dir, framework):
    code, output, error = run(
        "new", "my_algorithm", f"--framework={framework}", f"--dir={tmp_path}"
    )
    assert (code, error) == (0, "")
    made = tmp_path / "my_algorithm"
    assert output.startswith(f"{made} is ready.")
    assert os.listdir(tmp_path) == ["my_algorithm"]
    code, output, _ = run("check", made, f"--data_dir={data_dir}")
    assert code == 0, output
    runs = rf"3 steps of {framework} on digits \(\d+ s\), {framework} on criteo1tb_mini \(\d+ s\)"
    assert re.search(f"^ok  dry run: {runs}$", output, re.MULTILINE), output


@pytest.mark.parametrize("frameworks", [("jax",), ("pytorch",), FRAMEWORKS])
def test_it_has_what_was_asked_for(tmp_path, frameworks):
    made = create("my_algorithm", frameworks, tmp_path / "submissions")
    assert tuple(Folder.open(made).submissions) == frameworks
    assert check(Folder.open(made)).exit_code == 0
    files = {path.relative_to(made).as_posix() for path in made.rglob("*.*")}
    sources = {f"{framework}/submission.py" for framework in frameworks}
    assert files == sources | {"submission_info.yml", "tuning_search_space.json"}


def test_sources_are_the_templates(tmp_path):
    """Those are tested as a reference submission, so that the new one cannot be worse."""
    made = create("my_algorithm", FRAMEWORKS, tmp_path)
    for path in made.rglob("submission.py"):
        template = REFERENCE_SUBMISSIONS / "template" / path.relative_to(made)
        assert path.read_bytes() == template.read_bytes()


def test_nothing_is_overwritten(tmp_path):
    made = create("my_algorithm", FRAMEWORKS, tmp_path)
    (made / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"There is already .*my_algorithm; choose another name"):
        create("my_algorithm", FRAMEWORKS, tmp_path)
    assert (made / "notes.txt").read_text() == "mine"
    (tmp_path / "broken_link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="There is already"):
        create("broken_link", FRAMEWORKS, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["broken_link", "my_algorithm"]


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be made: .*; choose another --dir"):
        create("my_algorithm", FRAMEWORKS, tmp_path / "file")


@pytest.mark.parametrize("name", ["", "My", "a b", "../a", "a/b", ".a", "1a", "jax", "pytorch"])
def test_names_that_will_not_do(tmp_path, name):
    with pytest.raises(UserError, match="cannot be called"):
        create(name, FRAMEWORKS, tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--framework=jax"], "NAME"),
        (["my_algorithm"], "--framework"),
        (["my_algorithm", "--framework=tensorflow"], "--framework"),
    ],
)
def test_bad_input(tmp_path, arguments, words):
    code, output, error = run("new", *arguments, cwd=tmp_path)
    assert (code, output) == (2, "")
    assert words in error
    assert error.count("\n") == 1
    assert os.listdir(tmp_path) == []
