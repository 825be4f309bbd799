"""Boards: entries from an experiment, and pages that anyone can make again from the entries."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from finishline.board.entry import LOG_FILES, read_entries, to_toml
from finishline.board.page import write_page
from finishline.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
BOARDS = sorted(path.parent for path in (ROOT / "leaderboard").glob("*/page"))


def run_entries(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "finishline.entries", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def page_of(board: Path, output_dir: Path) -> dict[str, bytes]:
    write_page(board, output_dir)
    return {path.name: path.read_bytes() for path in output_dir.iterdir()}


@pytest.fixture(scope="module")
def board(finished, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("boards") / "board"
    process = run_entries("add", finished, f"--leaderboard={folder}")
    assert process.returncode == 0, process.stdout + process.stderr
    return folder


@pytest.fixture
def own_board(board, tmp_path) -> Path:
    """A copy, for changes."""
    return Path(shutil.copytree(board, tmp_path / "board"))


def test_an_entry_says_what_ran(board, finished):
    entries = {entry.submission: entry for entry in read_entries(board).values()}
    assert sorted(entries) == ["nadamw_jax", "nadamw_pytorch"]
    entry = entries["nadamw_jax"]
    assert (entry.name, entry.framework, entry.ruleset) == ("nadamw", "jax", "external")
    assert entry.authors == "The Finishline authors"
    (trial,) = entry.trials
    assert (trial.status, trial.verdict) == ("target_reached", "sound")
    assert set(trial.sha256) == set(LOG_FILES)
    original = finished / "nadamw_jax" / trial.path / "events.jsonl"
    assert original.read_bytes() == (board / entry.logs / trial.path / "events.jsonl").read_bytes()


def test_entries_can_be_read_as_they_were_written(board):
    for path, entry in read_entries(board).items():
        assert to_toml(entry) == path.read_text()
        assert tomllib.loads(path.read_text())["submission"] == entry.submission


def test_the_same_entries_make_the_same_bytes(board, tmp_path):
    first, second = page_of(board, tmp_path / "1"), page_of(board, tmp_path / "2")
    assert first == second
    assert {"leaderboard.html", "leaderboard.md", "scores.csv", "entries.md"} <= set(first)


def test_present_entries_are_not_replaced_unless_asked(finished, own_board):
    process = run_entries("add", finished, f"--leaderboard={own_board}")
    assert process.returncode == 2
    assert "--overwrite" in process.stderr
    one = ["--submissions=nadamw_jax", "--overwrite"]
    before = (own_board / "nadamw_jax.toml").read_text()
    process = run_entries("add", finished, f"--leaderboard={own_board}", *one)
    assert process.returncode == 0, process.stderr
    assert (own_board / "nadamw_jax.toml").read_text() == before


def test_a_trial_that_is_not_sound_gets_no_entry(copied, tmp_path):
    run = copied("pytorch")
    (run.path / "target_snapshot.safetensors").unlink()
    board = tmp_path / "board"
    process = run_entries("add", run.path.parents[3], f"--leaderboard={board}")
    assert process.returncode == 1
    assert "[snapshot]" in process.stdout
    assert not board.exists()


@pytest.mark.parametrize("name", LOG_FILES)
def test_a_changed_log_is_refused_by_name(own_board, tmp_path, name):
    (file,) = (own_board / "logs" / "nadamw_jax").rglob(name)
    file.write_bytes(file.read_bytes() + b"\n")
    with pytest.raises(UserError, match=f"{name} is not what was audited.*nadamw_jax.toml"):
        write_page(own_board, tmp_path / "page")
    assert not (tmp_path / "page").exists()


def test_a_missing_log_is_refused_by_name(own_board, tmp_path):
    (file,) = (own_board / "logs" / "nadamw_jax").rglob("events.jsonl")
    file.unlink()
    with pytest.raises(UserError, match=r"events\.jsonl is missing"):
        write_page(own_board, tmp_path / "page")


def test_a_log_in_no_entry_is_refused(own_board, tmp_path):
    stray = own_board / "logs" / "nadamw_jax" / "study_0" / "digits_jax" / "trial_2"
    stray.mkdir()
    (stray / "eval_measurements.csv").write_text("global_step\n")
    with pytest.raises(UserError, match=r"trial_2/eval_measurements.csv is in no trial"):
        write_page(own_board, tmp_path / "page")


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_entries_of_different_races_have_no_page(own_board, tmp_path):
    change(own_board / "nadamw_pytorch.toml", 'ruleset = "external"', 'ruleset = "self"')
    with pytest.raises(UserError, match="board of its own"):
        write_page(own_board, tmp_path / "page")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('submission = "nadamw_jax"', 'submission = "other"'),
        ('submission = "nadamw_jax"', "submission = "),
        ('version = "1.0"', 'colour = "red"'),
        ("[[trials]]", "[trials]"),
    ],
)
def test_a_damaged_entry_is_named(own_board, tmp_path, before, after):
    change(own_board / "nadamw_jax.toml", before, after)
    with pytest.raises(UserError, match=r"nadamw_jax\.toml"):
        write_page(own_board, tmp_path / "page")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("page",),
        ("add", "--leaderboard=x"),
        ("page", "--leaderboard=/nowhere"),
        ("add", "/nowhere", "--leaderboard=x"),
        ("delete", "--leaderboard=x"),
    ],
)
def test_bad_input_is_one_sentence(arguments):
    process = run_entries(*arguments)
    assert process.returncode == 2
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize("kept", BOARDS, ids=lambda board: board.name)
def test_kept_pages_are_what_their_entries_make(kept, tmp_path):
    made = page_of(kept, tmp_path / "page")
    for path in (kept / "page").iterdir():
        if path.suffix != ".html":  # which has Plotly in it, and is not kept
            assert made[path.name] == path.read_bytes(), path
