"""A container costs no time: submission times are those of this machine, within 2 %.

Pairs of the same training, one after the other, so that a machine that drifts meets both. The
median is the measurement, and is printed. On a shared machine single pairs differ by 10 % and
more, so what is asserted is that the best pair is within 2 % and the median is not far off.
"""

import math
import statistics
from pathlib import Path

import pytest

from finishline.errors import Status

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
SECONDS, PAIRS, PROBE_STEPS = 33, 3, 200


def test_the_same_training_takes_the_same_time(make_runner, worker_image, monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    space = tmp_path / "space.json"
    # With so small a learning rate no target is reached.
    space.write_text(
        '[{"learning_rate": 1e-7, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.01, '
        '"warmup_factor": 0.05}]'
    )

    def seconds(name, steps, **flags):
        runner = make_runner(
            name,
            framework="pytorch",
            workload="digits",
            submission_path=ROOT / "reference_submissions" / "nadamw",
            tuning_search_space=space,
            max_global_steps=steps,
            on_drift="off",
            **flags,
        )
        code, output = runner.run()
        assert code == Status.BUDGET_SPENT.exit_code, output
        return runner.meta["submission_time"]

    docker = {"executor": "docker", "docker_image": worker_image}
    rate = PROBE_STEPS / seconds("probe", PROBE_STEPS)
    steps = math.ceil(SECONDS * rate)
    ratios = [
        seconds(f"docker{pair}", steps, **docker) / seconds(f"local{pair}", steps)
        for pair in range(PAIRS)
    ]
    print(f"{steps} steps in about {SECONDS} s; container / local: {ratios}")
    assert min(ratios) < 1.02
    assert statistics.median(ratios) < 1.2
