"""Targets come from repeated runs, and the record of them can be read again."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from finishline.target_record import Run, set_targets
from finishline.workload import Target, find_workload

ROOT = Path(__file__).resolve().parent.parent.parent
ACCURACY = Target(metric="accuracy", minimize=False, validation=0.0, test=0.0)
LOSS = Target(metric="loss", minimize=True, validation=0.0, test=0.0)


def run(*evaluations):
    return Run(
        workload="w",
        submission="s",
        study=1,
        point=0,
        hyperparameters={},
        evaluations=[(float(i), *values) for i, values in enumerate(evaluations)],
    )


def test_targets_are_the_median_of_the_best_and_the_worst_test_value_then():
    runs = [
        run((0.2, 0.1), (0.9, 0.8), (0.7, 0.9)),
        run((0.8, 0.75), (0.85, 0.95)),
        run((0.5, 0.6), (0.6, 0.2)),  # never reaches 0.85
    ]
    target = set_targets(runs, ACCURACY)
    assert (target.validation, target.test) == (0.85, 0.8)


def test_smaller_is_better_for_a_loss():
    runs = [run((0.4, 0.5), (0.2, 0.3)), run((0.3, 0.35)), run((0.1, 0.6))]
    target = set_targets(runs, LOSS)
    assert (target.validation, target.test) == (0.2, 0.6)


def test_of_two_in_the_middle_the_worse_is_taken():
    assert set_targets([run((0.4, 0.5)), run((0.2, 0.3))], LOSS).validation == 0.4
    assert set_targets([run((0.4, 0.5)), run((0.2, 0.3))], ACCURACY).validation == 0.2


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_values_that_are_not_finite_never_count(broken):
    runs = [run((broken, 0.1), (0.3, 0.4)), run((0.3, 0.4), (broken, 0.0))]
    for target in (ACCURACY, LOSS):
        assert set_targets(runs, target).validation == 0.3


def set_targets_of_digits(folder, *more):
    command = [
        *(sys.executable, "-m", "finishline.target_setting", "--workload=digits"),
        *("--submissions=nadamw", "--num_tuning_trials=1", "--num_reruns=2", "--fraction=0.04"),
        f"--data_dir={folder}/data",
        f"--experiment_dir={folder}",
        *more,
    ]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_the_command_runs_records_and_continues(tmp_path):
    output = tmp_path / "records" / "digits.md"
    output.parent.mkdir()
    done = set_targets_of_digits(tmp_path, f"--output={output}")
    assert done.returncode == 0, done.stderr
    record = output.read_text()
    steps = round(0.04 * find_workload("digits").step_hint)
    assert "--fraction=0.04" in record
    assert str(tmp_path) not in record  # folders are those of one machine
    assert f": {steps} steps a run." in record
    best = [float(row) for row in re.findall(r"^\| [12] \| ([\d.]+) \|", record, re.MULTILINE)]
    assert len(best) == 2
    assert f"validation target: **{min(best):.6g}**" in record
    again = set_targets_of_digits(tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("done already") == 3


@pytest.mark.parametrize(("flags", "expected"), [
    ([], "either --workload or --suite"),
    (["--workload=digits", "--suite=mini"], "either --workload or --suite"),
    (["--workload=digits,mnist", "--output=x.md"], "use --output_dir"),
    (["--workload=digit"], "did you mean digits"),
])  # fmt: skip
def test_bad_flags_are_told(flags, expected):
    command = [sys.executable, "-m", "finishline.target_setting", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_shortened_workload_has_a_part_of_the_step_hint():
    digits = find_workload("digits")
    short = digits.shortened(0.1)
    assert short.step_hint == round(0.1 * digits.step_hint)
    assert short.target == digits.target
    assert digits.shortened(1e-9).step_hint == 1
