"""What the layer supplies does what the original did."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from finishline.compat import jax_names

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, **environment: str) -> str:
    """The output of ``code`` in a process of its own, where shims may be left behind."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_removed_names_of_jax():
    shims = [*jax_names.REMOVED, "jax.numpy.clip(a_min=)", "jax.numpy.reshape(newshape=)"]
    code = f"""
from finishline.compat import jax_names
import jax, jax.numpy as jnp, numpy as np
assert not hasattr(jax, "tree_map")
jax_names.supply({shims!r})
from jax import tree_map, linear_util
import jax.linear_util
from jax.experimental import PartitionSpec
assert tree_map(lambda x: x + 1, {{"a": 1}}) == {{"a": 2}}
x = jnp.array([3.0, -1.0, 2.0])
assert jnp.clip(x, a_min=0).tolist() == jnp.clip(a=x, a_min=0).tolist() == [3, 0, 2]
assert jnp.clip(x, a_max=2, a_min=None).tolist() == jnp.clip(x, None, 2).tolist() == [2, -1, 2]
assert jnp.clip(x, 0, 2).tolist() == jnp.clip(x, min=0, max=2).tolist() == [2, 0, 2]
assert jax.jit(lambda x: jnp.clip(x, a_min=0))(x).tolist() == [3, 0, 2]
assert jnp.reshape(x, newshape=(3, 1)).shape == jnp.reshape(x, (3, 1)).shape == (3, 1)
assert jnp.in1d(jnp.ones((2, 2)), jnp.array([1])).shape == (4,)
assert jnp.msort(x).tolist() == [-1, 2, 3]
assert jnp.alltrue(x > -2) and jnp.product(x) == -6
replicated = jax.device_put_replicated({{"a": x}}, jax.devices())
assert replicated["a"].shape == (2, 3)
sharded = jax.device_put_sharded([x, x + 1], jax.devices())
assert jax.pmap(lambda a: a.sum())(sharded).tolist() == [4, 7]
"""
    run(code, XLA_FLAGS="--xla_force_host_platform_device_count=2")


def test_one_package_under_both_names():
    code = """
import sys
from finishline.compat.imports import ApiFinder
from finishline.compat.plan import API_PACKAGES
sys.meta_path.insert(0, ApiFinder(API_PACKAGES))
import algorithmic_efficiency.spec
from algoperf import spec, random_utils, profiler
import algoperf.spec as third
from finishline import spec as own
assert spec is third is algorithmic_efficiency.spec
assert spec.TrainingCompleteError is own.TrainingCompleteError
assert spec.ForwardPassMode is own.ForwardPassMode
assert own.__spec__.name == "finishline.spec"
key = random_utils.PRNGKey(3)
assert random_utils.split(key, 4).shape == (4, 2)
assert (random_utils.fold_in(key, 1) != random_utils.fold_in(key, 2)).any()
with profiler.PassThroughProfiler().profile("step"):
    pass
try:
    import algoperf.workloads
except ModuleNotFoundError as error:
    print(error)
assert "torch" not in sys.modules and "jax" not in sys.modules
"""
    assert "algoperf.workloads is not part of what is supplied" in run(code)


def test_nothing_leaks_into_the_referee():
    code = """
import sys
import finishline.referee, finishline.study
assert not [name for name in sys.modules if name.startswith(("algoperf", "algorithmic_efficiency"))]
assert not [f for f in sys.meta_path if type(f).__module__.startswith("finishline")]
"""
    run(code)


@pytest.mark.parametrize(("num_ranks", "expected"), [(1, "(False, 0,"), (3, "(True, 2,")])
def test_pytorch_setup(num_ranks, expected):
    code = "from finishline.compat.algoperf.pytorch_utils import pytorch_setup as s; print(s())"
    environment = {"LOCAL_RANK": str(num_ranks - 1)} if num_ranks > 1 else {}
    assert run(code, **environment).startswith(expected)


def test_cuda_is_the_cpu():
    code = """
import torch
from finishline.compat.cuda import map_to_cpu
map_to_cpu()
x = torch.zeros(3, device="cuda")
assert x.device.type == torch.zeros(3, device=torch.device("cuda", 1)).device.type == "cpu"
assert x.to("cuda:0").device.type == x.cuda().device.type == "cpu"
model = torch.nn.Linear(3, 3, device="cuda").cuda().to("cuda")
model(torch.ones(2, 3).to(device="cuda", dtype=torch.float32)).sum().backward()
torch.cuda.synchronize()
assert torch.cuda.current_device() == 0
"""
    run(code)


def test_tensorflow_is_not_needed_for_summaries():
    code = """
from finishline.compat import no_tensorflow
no_tensorflow.supply()
import tensorflow.compat.v2 as tf
tf.enable_v2_behavior()
"""
    run(code)


def test_jit_shardings():
    code = """
import jax, jax.numpy as jnp
from finishline.compat.algoperf import jax_sharding_utils as s
assert s.replicate(jnp.ones(4)).sharding.is_fully_replicated
assert not s.shard_along_batch_dim(jnp.ones(4)).sharding.is_fully_replicated
"""
    run(code, XLA_FLAGS="--xla_force_host_platform_device_count=2")
