import csv
import io
import json
import os

import pytest

from finishline.errors import UserError
from scoring import document
from scoring.score_submissions import score_directory
from scoring.scores import Options
from scoring.tables import markdown, print_leaderboard

FILES = [
    ".evaluations.cache",
    "leaderboard.md",
    "per_study.csv",
    "performance_profiles.csv",
    "scores.csv",
    "scores.json",
    "speedups.csv",
    "times_to_target.csv",
]


def compute(root, **options):
    return document.build(root, Options(**options))[0]


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
    score_directory(logs, out, Options(reference="sgd_jax", bootstrap=10), html=False)
    assert sorted(os.listdir(out)) == FILES
    first, second = read(out / "scores.csv")
    assert (first["rank"], first["submission"], float(first["score"])) == ("1", "adam_jax", 1.0)
    assert (first["score_low"], first["score_high"], first["rank_low"]) == ("1.0", "1.0", "1")
    assert float(second["score"]) == pytest.approx(1 / 6)
    assert second["failed_trials"] == "1 submission_error"
    assert (second["trials_reached"], second["trials_run"]) == ("2", "4")
    assert json.loads((out / "scores.json").read_text())["schema"] == "finishline-scores/1"
    assert read(out / "speedups.csv")[0] == {
        "submission": "adam_jax",
        "reference": "sgd_jax",
        "speedup": first["speedup"],
        "digits": "3.0",
        "mnist": "",
    }
    assert read(out / "times_to_target.csv")[1] == {
        "submission": "sgd_jax",
        "digits": "30.0",
        "mnist": "inf",
    }
    assert len(read(out / "per_study.csv")) == 8
    assert read(out / "performance_profiles.csv") == [
        {"tau": "1.0", "adam_jax": "1.0", "sgd_jax": "0.0"},
        {"tau": "3.0", "adam_jax": "1.0", "sgd_jax": "0.5"},
        {"tau": "4.0", "adam_jax": "1.0", "sgd_jax": "0.5"},
    ]


def test_files_of_an_earlier_scoring_are_replaced_as_a_whole(logs, tmp_path, monkeypatch):
    score_directory(logs, tmp_path, html=False)
    before = (tmp_path / "leaderboard.md").read_text()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match="No space left"):
        score_directory(logs, tmp_path, Options(num_studies=5), html=False)
    assert (tmp_path / "leaderboard.md").read_text() == before


def test_an_output_directory_among_the_logs_is_no_submission(logs):
    score_directory(logs, logs / "out", html=False)
    scores = score_directory(logs, logs / "out", html=False)
    assert [one["name"] for one in scores["submissions"]] == ["adam_jax", "sgd_jax"]
    assert scores["problems"] == []


def test_an_output_directory_that_is_a_file_is_refused(logs, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --output_dir"):
        score_directory(logs, tmp_path / "file", html=False)


def test_markdown(logs):
    page = markdown(compute(logs))
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert tables[0] == "| rank | submission | score | digits | mnist | failed trials |"
    assert tables[2] == "| 1 | adam_jax | 1.0000 | 10.0 s (2/2) | 20.0 s (2/2) | 0 |"
    assert tables[3] == "| 2 | sgd_jax | 0.1667 | 30.0 s (2/2) | – (0/2) | 1 submission_error |"
    assert r"| no luck \| &lt;b> |" in page
    assert "sgd_jax/study_0/mnist_jax/trial_1" in page
    assert "`digits` accuracy >= 0.9" in page


def test_a_name_is_no_markup(root, add_trial):
    add_trial("__a*b__", time=1.0)
    assert r"| \_\_a\*b\_\_ |" in markdown(compute(root))


def test_plain_text_without_a_terminal(logs, capsys):
    print_leaderboard(compute(logs))
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
    print_leaderboard(compute(logs))
    table = terminal.getvalue().partition("A submission's time")[0]
    for text in ("adam_jax", "sgd_jax", "10.0 s (2/2)", "0.1667"):
        assert text in table
    is_turned = "rank" in table and table.index("digits") > table.index("sgd_jax")
    assert is_turned == (columns == "60")


def test_names_that_are_no_text(root, add_trial, tmp_path, capsys):
    add_trial(os.fsdecode(b"a\xff"), time=1.0)
    print_leaderboard(score_directory(root, tmp_path / "out", html=False))
    assert "a\\udcff" in capsys.readouterr().out
    assert "a\\udcff" in (tmp_path / "out" / "leaderboard.md").read_text()
