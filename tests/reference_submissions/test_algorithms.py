"""Each algorithm is the one that it says it is."""

import numpy as np
import pytest
from battery import NUM_PARAMETERS
from least_squares import workload as problem

FRAMEWORKS = ["jax", "pytorch"]
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
