import csv
import io
import os

import pytest

from finishline.errors import UserError
from scoring.leaderboard import markdown, print_leaderboard
from scoring.score_submissions import score_directory
from scoring.scores import compute_scores

FILES = [
    "leaderboard.csv",
    "leaderboard.md",
    "performance_profiles.csv",
    "study_times.csv",
    "times_to_target.csv",
]


@pytest.fixture
def logs(root, add_trial):
    for study in range(2):
        add_trial("adam_jax", study, "digits", time=10.0)
        add_trial("adam_jax", study, "mnist", time=20.0)
        add_trial("sgd_jax", study, "digits", time=30.0)
    add_trial("sgd_jax", 0, "mnist", status="submission_error", message="no\nluck | <b>")
    add_trial("sgd_jax", 1, "mnist", rows=[(5.0, 0.1)])
    return root


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_files(logs, tmp_path):
    out = tmp_path / "new" / "out"
    score_directory(logs, out)
    assert sorted(os.listdir(out)) == FILES
    first, second = read(out / "leaderboard.csv")
    assert (first["rank"], first["submission"], float(first["score"])) == ("1", "adam_jax", 1.0)
    assert float(second["score"]) == pytest.approx(1 / 6)
    assert second["digits_time_sec"] == "30.0"
    assert (second["mnist_time_sec"], second["mnist_trials_run"]) == ("inf", "2")
    assert second["failed_trials"] == "1 submission_error"
    assert read(out / "times_to_target.csv")[1] == {
        "submission": "sgd_jax",
        "digits": "30.0",
        "mnist": "inf",
    }
    assert len(read(out / "study_times.csv")) == 8
    assert read(out / "performance_profiles.csv") == [
        {"tau": "1.0", "adam_jax": "1.0", "sgd_jax": "0.0"},
        {"tau": "3.0", "adam_jax": "1.0", "sgd_jax": "0.5"},
        {"tau": "4.0", "adam_jax": "1.0", "sgd_jax": "0.5"},
    ]


def test_files_of_an_earlier_scoring_are_replaced_as_a_whole(logs, tmp_path, monkeypatch):
    score_directory(logs, tmp_path)
    before = (tmp_path / "leaderboard.md").read_text()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match="No space left"):
        score_directory(logs, tmp_path, num_studies=5)
    assert (tmp_path / "leaderboard.md").read_text() == before


def test_an_output_directory_among_the_logs_is_no_submission(logs):
    score_directory(logs, logs / "out")
    scores = score_directory(logs, logs / "out")
    assert scores.submissions == ("adam_jax", "sgd_jax")
    assert scores.problems == ()


def test_an_output_directory_that_is_a_file_is_refused(logs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --output_dir"):
        score_directory(logs, tmp_path / "file")


def test_markdown(logs):
    page = markdown(compute_scores(logs))
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert tables[0] == "| rank | submission | score | digits | mnist | failed trials |"
    assert tables[2] == "| 1 | adam_jax | 1.0000 | 10.0 s (2/2) | 20.0 s (2/2) | 0 |"
    assert tables[3] == "| 2 | sgd_jax | 0.1667 | 30.0 s (2/2) | – (0/2) | 1 submission_error |"
    assert r"| no luck \| &lt;b> |" in tables[-1]
    assert "sgd_jax/study_0/mnist_jax/trial_1" in tables[-1]
    assert "`digits` accuracy >= 0.9" in page


def test_a_name_is_no_markup(root, add_trial):
    add_trial("__a*b__", time=1.0)
    assert r"| \_\_a\*b\_\_ |" in markdown(compute_scores(root))


def test_plain_text_without_a_terminal(logs, capsys):
    print_leaderboard(compute_scores(logs))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["rank", "submission", "score"]
    assert lines[1].split()[:3] == ["1", "adam_jax", "1.0000"]
    assert "Failed trials (1):" in lines
    assert any("submission_error · no luck | <b>" in line for line in lines)


@pytest.mark.parametrize("columns", ["60", "200"])
def test_table_on_a_terminal(logs, monkeypatch, columns):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "xterm")
    print_leaderboard(compute_scores(logs))
    table = terminal.getvalue().partition("A submission's time")[0]
    for text in ("adam_jax", "sgd_jax", "10.0 s (2/2)", "0.1667"):
        assert text in table
    is_turned = "rank" in table and table.index("digits") > table.index("sgd_jax")
    assert is_turned == (columns == "60")
