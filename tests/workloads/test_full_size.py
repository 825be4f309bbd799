"""Full-size models train and are evaluated on the CPU, two examples at a time."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from finishline.frameworks.jax.metrics import METRICS
from finishline.workload import all_workloads

# Workloads that have a mini, without their minis and variants, which the mini-size tests cover.
FULL_SIZE = [
    workload.name
    for workload in all_workloads().values()
    if workload.mini_model and workload.package == f"workloads.{workload.name}"
]
FIXED_BYTES = 3 * 2**30  # the framework, its compiler, and the activations of two examples
LONG_SEQUENCES = {"finewebedu_lm": 3 * 2**30}  # more: logits of 2 x 1,024 tokens have 0.4 GB
BYTES_PER_VALUE = 3 * 4  # parameters, gradients, and one copy on the way
SCRIPT = Path(__file__).parent / "full_size.py"


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize("name", FULL_SIZE)
def test_one_step_and_one_evaluation(name, framework, record_property):
    process = subprocess.run(
        [sys.executable, str(SCRIPT), name, framework], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout.splitlines()[-1])
    record_property("peak_bytes", report["peak_bytes"])
    print(f"{name} {framework}: {report}")  # shown with -s or -rP
    assert math.isfinite(report["loss"])
    assert report["changed"] > 0
    on_device = set(all_workloads()[name].metrics) & set(METRICS)  # a scorer needs the data
    assert report["metrics"].keys() == on_device
    assert all(math.isfinite(value) for value in report["metrics"].values())
    fixed = FIXED_BYTES + LONG_SEQUENCES.get(name, 0)
    limit = fixed + BYTES_PER_VALUE * report["num_values"]
    assert report["peak_bytes"] < limit
