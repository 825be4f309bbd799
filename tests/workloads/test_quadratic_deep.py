"""The published values of DeepOBS, which its own second instance in a process does not have."""

import numpy as np
import pytest

from finishline.workload import find_workload
from workloads.quadratic_deep import problem

ONES = np.ones(problem.DIMENSION)
NUM_PUBLISHED = 896  # DeepOBS drops the last incomplete batch of 128 in evaluations, too


@pytest.fixture(scope="module")
def eigenvalues():
    return np.linalg.eigvalsh(problem.hessian())


def mean(split):
    return problem.points(split).mean(axis=0, dtype=np.float64)


def test_the_matrix_is_that_of_deepobs(eigenvalues):
    assert np.trace(problem.hessian()) == pytest.approx(477.6123, abs=5e-5)
    assert eigenvalues[0] == pytest.approx(0.005522, abs=5e-7)
    assert eigenvalues[-1] == pytest.approx(53.129015, abs=5e-7)
    assert eigenvalues[-1] / eigenvalues[0] == pytest.approx(9621, abs=0.5)
    assert (eigenvalues < 1).sum() == 90
    assert (eigenvalues > 30).sum() == 10
    assert 0.5 * problem.POINT_STD**2 * eigenvalues.sum() == pytest.approx(85.97, abs=5e-3)


@pytest.mark.parametrize(
    ("theta", "loss", "tolerance"),
    [
        pytest.param(ONES, 353.44677, 5e-5, id="start"),
        pytest.param(mean("train"), 87.0460, 5e-5, id="training mean"),
        pytest.param(
            problem.points("test")[:NUM_PUBLISHED].mean(axis=0, dtype=np.float64),
            86.8735,
            5e-5,
            id="optimum of the test points",
        ),
    ],
)
def test_published_losses(theta, loss, tolerance):
    points = problem.points("test")[:NUM_PUBLISHED]
    assert problem.mean_loss(theta, points) == pytest.approx(loss, abs=tolerance)


@pytest.mark.parametrize(
    ("split", "start", "optimum", "at_training_mean"),
    [
        ("train", 353.70645, 84.76965, 84.76965),
        ("validation", 354.61768, 85.53559, 85.61104),
        ("test", 353.92597, 86.94108, 87.12874),
    ],
)
def test_losses_of_whole_splits(split, start, optimum, at_training_mean):
    points = problem.points(split)
    assert problem.mean_loss(ONES, points) == pytest.approx(start, abs=5e-5)
    assert problem.mean_loss(mean(split), points) == pytest.approx(optimum, abs=5e-5)
    assert problem.mean_loss(mean("train"), points) == pytest.approx(at_training_mean, abs=5e-5)


def test_targets_can_be_reached_by_what_is_learnt_from_the_training_points():
    target = find_workload("quadratic_deep").target
    points = problem.points("validation")
    assert target.is_met(problem.mean_loss(mean("train"), points))
    assert not target.is_met(problem.mean_loss(ONES, points))


def test_the_problem_does_not_depend_on_what_the_process_did_before():
    first = problem.hessian().copy(), problem.points("train")
    np.random.seed(0)
    np.random.normal(size=100)
    problem.hessian.cache_clear()
    np.testing.assert_array_equal(problem.hessian(), first[0])
    np.testing.assert_array_equal(problem.points("train"), first[1])


@pytest.mark.parametrize("dimension", [2, 3, 8, 9])
def test_random_rotations_are_rotations(dimension):
    rotation = problem.random_rotation(dimension, np.random.RandomState(dimension))
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(dimension), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
def test_models_have_the_published_initial_loss(framework):
    module = find_workload("quadratic_deep").model_module(framework)
    points = problem.points("test")[:NUM_PUBLISHED]
    if framework == "jax":
        import jax

        model, batch = module.Model(), jax.device_put({"inputs": points})
        variables = model.init(jax.random.key(0), batch, train=False, dropout_rate=0.0)
        losses = model.apply(variables, batch, train=False, dropout_rate=0.0)
    else:
        import torch

        losses = module.Model()({"inputs": torch.from_numpy(points)}, dropout_rate=0.0)
        losses = losses.detach().numpy()
    assert losses.shape == (NUM_PUBLISHED,)
    assert float(losses.mean()) == pytest.approx(353.44677, rel=1e-6)
