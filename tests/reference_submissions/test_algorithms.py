"""Each algorithm is the one that it says it is."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from battery import NUM_PARAMETERS
from least_squares import workload as problem

FRAMEWORKS = ["jax", "pytorch"]
ROOT = Path(__file__).resolve().parents[2]
STEP_HINT = problem.WORKLOAD.step_hint


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_gradient_clipping_acts_if_it_is_in_the_search_space(race, framework):
    plain, clipped = (race("momentum", framework, grad_clip=norm) for norm in (1e3, 1e-3))
    first = plain.values()
    moved = [np.linalg.norm((run.train(3) - first)[:NUM_PARAMETERS]) for run in (plain, clipped)]
    assert moved[1] < 1e-2 * moved[0]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_schedule_free_goes_on_as_if_not_evaluated(race, framework):
    evaluated, not_evaluated = (race("schedule_free_adamw", framework) for _ in range(2))
    for _ in range(4):
        evaluated.train(10)
        evaluated.prepare_for_eval()
        evaluated.prepare_for_eval()  # the harness may ask twice
    np.testing.assert_allclose(evaluated.train(10), not_evaluated.train(50), atol=1e-5)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_schedule_free_is_the_papers_recursion(race, framework):
    """Runs the three sequences of the paper in NumPy and float64."""
    run = race("schedule_free_adamw", framework, warmup_factor=0.1, weight_decay=0.1)
    h, warmup_steps = run.hyperparameters, int(0.1 * STEP_HINT)
    x = y = z = run.values()[:NUM_PARAMETERS].astype(np.float64)
    v, weight_sum = 0.0, 0.0
    for t in range(1, 41):
        g = problem.gradient(y, t - 1)
        lr = h.learning_rate * min(t / warmup_steps, 1.0)
        v = h.beta2 * v + (1 - h.beta2) * g**2
        step = g / (np.sqrt(v / (1 - h.beta2**t)) + 1e-8) + h.weight_decay * y
        z = z - lr * step
        weight_sum += lr**2
        c = lr**2 / weight_sum
        x = (1 - c) * x + c * z
        y = (1 - h.beta1) * z + h.beta1 * x
        np.testing.assert_allclose(run.train(1)[:NUM_PARAMETERS], y, atol=2e-5)
        if t % 10 == 0:
            evaluated = run.prepare_for_eval()[:NUM_PARAMETERS]
            np.testing.assert_allclose(evaluated, x, atol=2e-5)
            assert np.abs(x - y).max() > 1e-3


MANY_BLOCKS = """
    import sys

    sys.path.insert(0, sys.argv[1])
    import jax
    import jax.numpy as jnp
    from shampoo import scale_by_shampoo

    shapes = [(13, 64), (64, 32), (416, 128), (128, 64), (64, 64)]
    params = [jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate(shapes)]
    shampoo = scale_by_shampoo(
        [True] * 5, b1=0.9, b2=0.99, eps=1e-8, precondition_frequency=10, block_size=128
    )
    state = jax.jit(shampoo.init)(params)
    x = jax.random.normal(jax.random.key(5), (256, 64))

    def loss(params):
        sizes = [x @ jnp.ones((64, len(p))) @ p for p in params]
        return sum(jnp.square(s / 100).mean() for s in sizes)

    @jax.jit
    def step(params, state):
        updates, state = shampoo.update(jax.grad(loss)(params), state)
        return jax.tree.map(lambda p, u: p - 0.01 * u, params, updates), state

    for _ in range(10):
        for _ in range(50):
            params, state = step(params, state)
        updates = jax.block_until_ready(params)
    assert all(bool(jnp.isfinite(u).all()) for u in updates)
"""


def test_shampoo_of_many_blocks_does_not_wait_for_ever_in_jax():
    """It did where all threads of a machine had a decomposition that waited for threads."""
    folder = ROOT / "reference_submissions" / "shampoo" / "jax"
    code = textwrap.dedent(MANY_BLOCKS)
    # Devices of other tests' number have more threads.
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    command = [sys.executable, "-c", code, str(folder)]
    subprocess.run(command, env=environment, timeout=120, check=True)
