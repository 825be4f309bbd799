"""The noisy quadratic of DeepOBS: its matrix and its points, in NumPy.

Every function starts a new generator from a fixed seed, so that what it returns does not depend on
what the process did before.
"""

import functools

import numpy as np

DIMENSION = 100
NUM_POINTS = 1000
POINT_STD = 0.6

_MATRIX_SEED = 42
_POINT_SEEDS = {"train": 42, "test": 43, "validation": 44}  # the last one is not in DeepOBS


@functools.cache
def hessian() -> np.ndarray:
    """The symmetric positive definite matrix Q = R^T diag(e) R: float64, (100, 100), read-only.

    90 eigenvalues e are drawn from U(0, 1) and 10 from U(30, 60); R is a random rotation.
    """
    generator = np.random.RandomState(_MATRIX_SEED)
    small = generator.uniform(0, 1, 90)
    large = generator.uniform(30, 60, 10)
    rotation = random_rotation(DIMENSION, generator)
    matrix = rotation.T @ (np.concatenate([small, large])[:, None] * rotation)
    matrix.flags.writeable = False
    return matrix


def random_rotation(dimension: int, generator: np.random.RandomState) -> np.ndarray:
    """A rotation drawn from the Haar measure on SO(dimension), by the subgroup algorithm.

    From a rotation of d dimensions follows one of d + 1: extended by a fixed first axis, then
    reflected so that this axis goes to a random point of the sphere.

    Source: Diaconis and Shahshahani, 1987, "The subgroup algorithm for generating uniform random
    variables", Probability in the Engineering and Informational Sciences 1.
    """
    angle = 2 * np.pi * generator.uniform()
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])
    for d in range(2, dimension):
        point = generator.normal(size=d + 1)
        point /= np.linalg.norm(point)
        axis = np.eye(d + 1)[0] - point
        axis /= np.linalg.norm(axis)
        extended = np.eye(d + 1)
        extended[1:, 1:] = rotation
        rotation = extended - 2 * np.outer(axis, axis @ extended)
    return -rotation  # makes the determinant 1 after an odd number of reflections, too


def points(split: str) -> np.ndarray:
    """The points of a split: float32, (1000, 100), drawn from N(0, 0.6^2)."""
    generator = np.random.RandomState(_POINT_SEEDS[split])
    return generator.normal(0.0, POINT_STD, (NUM_POINTS, DIMENSION)).astype(np.float32)


def mean_loss(theta: np.ndarray, inputs: np.ndarray) -> float:
    """The mean over points x, (n, 100), of (theta - x)^T Q (theta - x) / 2, in float64."""
    offsets = np.asarray(theta, np.float64) - inputs
    return float(0.5 * np.einsum("ni,ij,nj->n", offsets, hessian(), offsets, optimize=True).mean())
