import json
import subprocess
import sys
from pathlib import Path

import pytest

from scoring.score_submissions import main

REPOSITORY = Path(__file__).parents[2]


def test_a_run(root, add_trial, tmp_path, capsys):
    add_trial(time=10.0)
    flags = [
        f"--submission_directory={root}",
        f"--output_dir={tmp_path}/out",
        "--num_studies=1",
        "--nohtml",
    ]
    assert main(["score", *flags]) == 0
    assert "1.0000" in capsys.readouterr().out
    assert (tmp_path / "out" / "leaderboard.md").is_file()


def test_targets_file_of_algoperf(root, add_trial, tmp_path, capsys):
    add_trial(rows=[(10.0, 0.5)], status=None)
    entry = {"target_metric_name": "accuracy", "validation_target_value": 0.4}
    content = {
        "base_workloads": ["digits", "wmt"],
        "held_out_workloads": ["wmt_tanh"],
        "workloads": {"digits": entry, "wmt": entry, "wmt_tanh": entry},
    }
    (tmp_path / "targets.json").write_text(json.dumps(content))
    add_trial(workload="wmt", rows=[(10.0, 0.5)], status=None)
    add_trial(workload="wmt_tanh", rows=[(10.0, 0.3)], status=None)
    flags = [f"--submission_directory={root}", f"--output_dir={tmp_path}/out", "--nohtml"]
    assert main(["score", *flags, f"--workload_targets={tmp_path}/targets.json"]) == 0
    out = capsys.readouterr().out
    assert "0.5000" in out
    assert "10.0 s* (1/1)" in out
    assert "held-out variant" in out


def test_all_flags(root, add_trial, tmp_path):
    for submission in "abc":
        add_trial(submission, workload="criteo1tb", time=10.0, status=None)
    flags = [
        f"--submission_directory={root}",
        f"--output_dir={tmp_path}/out",
        "--workload_targets=0.6",
        "--as_published",
        "--self_tuning_ruleset",
        "--strict",
        "--include_submissions=a, b",
        "--exclude_submissions=b",
        "--reference=a",
        "--bootstrap=5",
        "--seed=3",
        f"--cache_dir={tmp_path}/cache",
        "--nohtml",
    ]
    assert main(["score", *flags]) == 0
    document = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert [one["name"] for one in document["submissions"]] == ["a"]
    assert document["bootstrap"] == {"samples": 5, "seed": 3, "level": 0.95}
    rules = document["rules"]
    assert (rules["name"], rules["tuning_ruleset"]) == ("as_published", "self")
    assert (rules["benchmark_version"], rules["strict"], rules["num_trials"]) == ("0.6", True, 1)
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [".evaluations.cache"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--submission_directory is missing"),
        (["--submission_directory=."], "--output_dir is missing"),
        (["--submission_directory=/no/such", "--output_dir=out"], "no directory /no/such"),
        (["--submission_directory=.", "--output_dir=out", "--num_studies=0"], "num_studies"),
        (["--submission_directory=.", "--output_dir=out", "surplus"], "'surplus'"),
        (["--submision_directory=."], "submision_directory"),
        (["--submission_directory=.", "--output_dir=out", "--strict"], "--workload_targets"),
        (
            ["--submission_directory=.", "--output_dir=out", "--workload_targets=0.7"],
            "versions 0.5, 0.6, 1.0",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(flags, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["score", *flags]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from scoring.score_submissions import main; main(['score', '--help'])\n"
        "heavy = {'torch', 'jax', 'flax', 'optax', 'pandas', 'scipy', 'rich', 'sklearn', 'grain'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "--workload_targets" in done.stdout
