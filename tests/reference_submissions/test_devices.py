"""On two devices every algorithm takes the same steps as on one."""

import os
import subprocess
import sys
from pathlib import Path

from battery import IN_JAX, IN_PYTORCH

HERE = Path(__file__).parent

JAX_SCRIPT = """
import sys
import jax
import numpy as np
from battery import DEVICE_TOLERANCES, Race

assert len(jax.devices()) == 2
for algorithm in sys.argv[1:]:
    race = Race(algorithm, "jax", num_devices=2)
    race.train(1)
    with jax.log_compiles():
        values = race.train(14)
    assert {len(x.sharding.device_set) for x in race.batches[0][1].values()} == {2}
    expected = Race(algorithm, "jax").train(15)
    atol = DEVICE_TOLERANCES.get(algorithm, 1e-6)
    np.testing.assert_allclose(values, expected, atol=atol, err_msg=algorithm)
"""

PYTORCH_SCRIPT = """
import os, sys, warnings
import numpy as np
import torch.distributed as dist
from battery import DEVICE_TOLERANCES, Race

# Three examples for the first rank and five, one of them masked, for the second.
part = (slice(0, 3), slice(3, 8))[int(os.environ["RANK"])]

expected = [Race(algorithm, "pytorch").train(15) for algorithm in sys.argv[1:]]
warnings.simplefilter("error", FutureWarning)
warnings.filterwarnings("ignore", ".*broadcast_buffers")  # the harness's own
dist.init_process_group("gloo")
for algorithm, values in zip(sys.argv[1:], expected):
    race = Race(algorithm, "pytorch", num_devices=2, part=part)
    atol = DEVICE_TOLERANCES.get(algorithm, 1e-6)
    np.testing.assert_allclose(race.train(15), values, atol=atol, err_msg=algorithm)
dist.barrier()
os._exit(0)  # as the worker does: tearing threads down can fail
"""


def run(tmp_path, script, algorithms, launcher=(), **environment):
    path = tmp_path / "script.py"
    path.write_text(script)
    roots = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    done = subprocess.run(
        [sys.executable, *launcher, str(path), *algorithms],
        env={**os.environ, "PYTHONPATH": roots, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Compiling" not in done.stderr, "compiled after the first step"


def test_jax_batch_is_sharded(tmp_path):
    run(
        tmp_path,
        JAX_SCRIPT,
        IN_JAX,
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
        JAX_PLATFORMS="cpu",
    )


def test_pytorch_ranks_have_unequal_numbers_of_valid_examples(tmp_path):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    run(tmp_path, PYTORCH_SCRIPT, IN_PYTORCH, torchrun, CUDA_VISIBLE_DEVICES="")
