"""On two devices every algorithm takes the same steps as on one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ALGORITHMS = ["nadamw", "momentum", "schedule_free_adamw", "template"]

JAX_SCRIPT = """
import sys
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from conftest import Race, numpy_batch

mesh = Mesh(jax.devices(), ("batch",))
replicated = NamedSharding(mesh, PartitionSpec())
sharded = NamedSharding(mesh, PartitionSpec("batch"))

class ShardedRace(Race):
    def _initial_params(self):
        return jax.device_put(super()._initial_params(), replicated)

    def batches(self):
        while True:
            yield jax.device_put(numpy_batch(self.step), sharded)

assert len(jax.devices()) == 2
for algorithm in sys.argv[1:]:
    race = ShardedRace(algorithm, "jax")
    np.testing.assert_allclose(race.train(15), Race(algorithm, "jax").train(15), atol=1e-6)
    assert race.optimizer_state[1]._cache_size() == 1, "compiled more than once"
"""

PYTORCH_SCRIPT = """
import os, sys, warnings
import numpy as np
import torch
import torch.distributed as dist
from conftest import Race, numpy_batch

# Three examples for the first rank and five, one of them masked, for the second.
part = (slice(0, 3), slice(3, 8))[int(os.environ["RANK"])]

class DistributedRace(Race):
    def _initial_params(self):
        return torch.nn.parallel.DistributedDataParallel(super()._initial_params())

    def batches(self):
        while True:
            batch = numpy_batch(self.step)
            yield {name: torch.from_numpy(array[part]) for name, array in batch.items()}

expected = [Race(algorithm, "pytorch").train(15) for algorithm in sys.argv[1:]]
warnings.simplefilter("error", FutureWarning)
dist.init_process_group("gloo")
for algorithm, weights in zip(sys.argv[1:], expected):
    np.testing.assert_allclose(DistributedRace(algorithm, "pytorch").train(15), weights, atol=1e-6)
dist.barrier()
dist.destroy_process_group()
"""


def run(tmp_path, script, launcher=(), **environment):
    path = tmp_path / "script.py"
    path.write_text(script)
    roots = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    done = subprocess.run(
        [sys.executable, *launcher, str(path), *ALGORITHMS],
        env={**os.environ, "PYTHONPATH": roots, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_jax_batch_is_sharded(tmp_path):
    pytest.importorskip("jax")
    run(
        tmp_path,
        JAX_SCRIPT,
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
        JAX_PLATFORMS="cpu",
    )


def test_pytorch_ranks_have_unequal_numbers_of_valid_examples(tmp_path):
    pytest.importorskip("torch")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    run(tmp_path, PYTORCH_SCRIPT, torchrun)
