import json
import subprocess
import sys
from pathlib import Path

import pytest

from scoring.score_submissions import main

REPOSITORY = Path(__file__).parents[2]


def test_a_run(root, add_trial, tmp_path, capsys):
    add_trial(time=10.0)
    flags = [f"--submission_directory={root}", f"--output_dir={tmp_path}/out", "--num_studies=1"]
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
    flags = [f"--submission_directory={root}", f"--output_dir={tmp_path}/out"]
    assert main(["score", *flags, f"--workload_targets={tmp_path}/targets.json"]) == 0
    out = capsys.readouterr().out
    assert "0.5000" in out
    assert "held-out workloads wmt_tanh" in out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--submission_directory is missing"),
        (["--submission_directory=."], "--output_dir is missing"),
        (["--submission_directory=/no/such", "--output_dir=out"], "no directory /no/such"),
        (["--submission_directory=.", "--output_dir=out", "--num_studies=0"], "num_studies"),
        (["--submission_directory=.", "--output_dir=out", "surplus"], "'surplus'"),
        (["--submision_directory=."], "submision_directory"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(flags, words, capsys):
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
