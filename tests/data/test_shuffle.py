import pickle

import numpy as np
import pytest

from finishline.data import shuffle
from finishline.data.keyed import example_generator
from finishline.data.shuffle import TrainingOrder, training_indices


@pytest.fixture(params=["table", "function"])
def kind(request, monkeypatch):
    if request.param == "function":
        monkeypatch.setattr(shuffle, "LARGEST_TABLE", 0)
    return request.param


@pytest.mark.parametrize("n", [1, 2, 3, 10, 64, 65, 1000, 4097])
def test_every_epoch_is_a_permutation(kind, n):
    for epoch in range(3):
        indices = training_indices(n, 5, epoch * n, (epoch + 1) * n)
        assert indices.dtype == np.int64
        assert np.array_equal(np.sort(indices), np.arange(n))


def test_epochs_and_seeds_differ(kind):
    orders = [
        training_indices(500, seed, epoch * 500, (epoch + 1) * 500)
        for seed in (0, 1, 2**64 - 1)
        for epoch in (0, 1, 2)
    ]
    assert len({order.tobytes() for order in orders}) == 9


def test_any_range_is_a_slice_of_the_whole(kind):
    whole = training_indices(7, 3, 0, 100)
    order = TrainingOrder(7, 3)
    for start, stop in [(90, 100), (0, 0), (3, 4), (6, 8), (13, 41), (0, 100), (14, 21)]:
        assert np.array_equal(order.indices(start, stop), whole[start:stop])


def test_order_is_uniform(kind):
    """Each example is at each rank about equally often: chi-squared, 64 degrees of freedom."""
    n, epochs = 9, 2000
    order = training_indices(n, 11, 0, n * epochs).reshape(epochs, n)
    counts = np.stack([np.bincount(order[:, rank], minlength=n) for rank in range(n)])
    statistic = ((counts - epochs / n) ** 2 / (epochs / n)).sum()
    assert 30 < statistic < 130  # all but 1e-5 of the distribution


@pytest.mark.parametrize(
    ("n", "count", "digest"),
    [
        (1000, 2500, "fcd040a00554a40abf76800eb6ad80575f78e9f4fa12dee1fa11f9d26f929e6f"),
        (2**24 + 1, 1000, "efd61fab09645d3c119676821124df033da092896fff2a433034ab5f739ada02"),
    ],
)
def test_order_is_the_same_for_ever(n, count, digest):
    assert shuffle.hash_of_order(n, 42, count) == digest


def test_large_orders_need_no_table():
    n = 4_195_197_692
    indices = training_indices(n, 1, 3 * n - 1000, 3 * n + 1000)
    assert indices.min() >= 0
    assert indices.max() < n
    assert len(set(indices[:1000].tolist())) == 1000
    assert abs(indices.mean() / n - 0.5) < 0.05


def test_no_more_than_two_tables_are_kept():
    order = TrainingOrder(10, 0)
    order.indices(0, 100)
    assert list(order._tables) == [8, 9]


def test_an_order_is_pickled_without_its_tables():
    order = TrainingOrder(100_000, 4)
    expected = order.indices(5, 50)
    content = pickle.dumps(order)
    assert len(content) < 1000
    assert np.array_equal(pickle.loads(content).indices(5, 50), expected)


@pytest.mark.parametrize(("n", "seed"), [(0, 0), (-1, 0), (5, -1), (5, 2**64)])
def test_numbers_out_of_range_are_refused(n, seed):
    with pytest.raises(ValueError, match=r"\d"):
        TrainingOrder(n, seed)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (4, 3)])
def test_ranges_that_are_none_are_refused(start, stop):
    with pytest.raises(ValueError, match="range"):
        training_indices(5, 0, start, stop)


def test_augmentation_streams_differ():
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**64 - 1, 3, 2**40)]
    draws = {key: example_generator(*key).random(4).tobytes() for key in keys}
    assert len(set(draws.values())) == len(keys)
    assert all(example_generator(*key).random(4).tobytes() == draws[key] for key in keys)
    shuffling = np.random.Philox(key=np.zeros(2, np.uint64)).random_raw(1000)
    augmenting = example_generator(0, 0, 0).bit_generator.random_raw(1000)
    assert not np.intersect1d(shuffling, augmenting).size
