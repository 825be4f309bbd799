"""Random numbers that depend on (seed, epoch, index) alone, and look random."""

import numpy as np
import pytest

from finishline.data.keyed import ExampleRandom, batch_generator, example_generator

N = 20_000


def uniforms(seed=0, epochs=0, indices=None, count=2):
    indices = np.arange(N) if indices is None else indices
    return ExampleRandom(seed, np.broadcast_to(epochs, indices.shape), indices).uniform(count)


def test_numbers_are_uniform():
    numbers = uniforms(count=4)
    assert numbers.shape == (N, 4)
    assert numbers.dtype == np.float64
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for column in numbers.T:
        counts = np.histogram(column, bins=50, range=(0, 1))[0]
        assert 15 < ((counts - N / 50) ** 2 / (N / 50)).sum() < 105  # 49 degrees of freedom


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"seed": 2**63}, {"epochs": 1}, {"indices": np.arange(1, N + 1)}],
    ids=["seed", "far seed", "epoch", "index"],
)
def test_neighbours_are_not_correlated(other):
    first, second = uniforms(seed=0), uniforms(**{"seed": 0, **other})
    bound = 5 / np.sqrt(N)
    assert abs(np.corrcoef(first[:, 0], second[:, 0])[0, 1]) < bound
    assert abs(np.corrcoef(first[:, 0], second[:, 1])[0, 1]) < bound
    assert abs(np.corrcoef(first[:, 0], first[:, 1])[0, 1]) < bound
    assert not (first[:, 0] == second[:, 0]).any()


def test_the_first_numbers_do_not_depend_on_how_many_are_asked_for():
    assert np.array_equal(uniforms(count=7)[:, :3], uniforms(count=3))


def test_an_example_has_its_numbers_in_any_batch():
    epochs, indices = np.array([3, 0, 2]), np.array([7, 7, 1])
    together = ExampleRandom(5, epochs, indices)
    for i in range(3):
        alone = ExampleRandom(5, epochs[i : i + 1], indices[i : i + 1])
        assert np.array_equal(together.uniform(4)[i], alone.uniform(4)[0])
        assert together.generator(i).random() == alone.generator(0).random()
        expected = example_generator(5, int(epochs[i]), int(indices[i])).random()
        assert together.generator(i).random() == expected


def test_seeds_up_to_the_largest_are_keys():
    largest = 2**64 - 1
    assert not np.array_equal(uniforms(seed=largest), uniforms(seed=largest - 1))
    assert example_generator(largest, 0, 0).random() != example_generator(0, 0, 0).random()


def test_streams_differ_by_key_and_by_purpose():
    firsts = [example_generator(s, e, i).random() for s in (0, 1) for e in (0, 1) for i in (0, 1)]
    firsts += [batch_generator(s, p).random() for s in (0, 1) for p in (0, 64)]
    assert len(set(firsts)) == 12
    assert batch_generator(3, 64).random() == batch_generator(3, 64).random()


def test_numbers_are_the_same_for_ever():
    numbers = ExampleRandom(42, np.array([0, 1]), np.array([5, 5])).uniform(2)
    assert numbers.tolist() == [
        [0.5726820716921862, 0.44989448757208705],
        [0.8238401566875888, 0.7654125010941936],
    ]
