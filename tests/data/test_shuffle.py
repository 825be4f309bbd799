import pickle

import numpy as np
import pytest

from finishline.data import shuffle
from finishline.data.keyed import example_generator
from finishline.data.pipeline import TrainingBatches, evaluation_batches
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


@pytest.mark.parametrize(("n", "block_size"), [(1000, 8), (1003, 8), (7, 8), (8, 8), (65, 64)])
def test_blocks_cover_every_epoch_and_stay_whole(kind, n, block_size):
    order = TrainingOrder(n, 5, block_size)
    starts = []
    for epoch in range(3):
        indices = order.indices(epoch * n, (epoch + 1) * n)
        assert indices.dtype == np.int64
        assert np.array_equal(np.sort(indices), np.arange(n))
        num_whole = n // block_size * block_size
        blocks = indices[:num_whole].reshape(-1, block_size)
        assert np.array_equal(
            blocks - blocks[:, :1], np.tile(np.arange(block_size), (len(blocks), 1))
        )
        assert np.array_equal(indices[num_whole:], np.arange(num_whole, n))
        starts.append(blocks[:, 0].tobytes())
    if n >= 1000:
        assert len(set(starts)) == 3


@pytest.mark.parametrize(("n", "block_size"), [(1003, 8), (7, 8), (20, 3)])
def test_any_range_of_blocks_is_a_slice_of_the_whole(kind, n, block_size):
    order = TrainingOrder(n, 3, block_size)
    whole = np.concatenate([order.indices(e * n, (e + 1) * n) for e in range(4)])
    generator = np.random.default_rng(0)
    for start, stop in np.sort(generator.integers(0, 4 * n + 1, (50, 2))).tolist():
        assert np.array_equal(order.indices(start, stop), whole[start:stop])


@pytest.mark.parametrize("batch_size", [6, 32, 250])
def test_ranks_share_blocks_and_go_on_at_any_position(kind, batch_size):
    """All ranks together see each row once an epoch; a resume at any batch changes nothing."""
    n, batches = 203, 10
    source = Blocked(n)
    whole = TrainingOrder(n, 9, source.block_size).indices(0, batches * batch_size)

    def seen(rank, world_size, first):
        iterator = TrainingBatches(
            source,
            batch_size=batch_size,
            seed=9,
            position=first * batch_size,
            rank=rank,
            world_size=world_size,
        )
        return np.stack([next(iterator)["x"] for _ in range(batches - first)])

    for first in (0, 3, 9):
        ranks = np.concatenate([seen(rank, 2, first) for rank in range(2)], axis=1)
        assert np.array_equal(ranks.ravel(), whole[first * batch_size :])
        assert np.array_equal(seen(0, 1, first), ranks)


def test_an_evaluation_of_a_part_takes_whole_blocks():
    batches = list(evaluation_batches(Blocked(203), 15, num_examples=40))
    seen = np.concatenate([batch["x"][batch["weights"] > 0] for batch in batches])
    assert len(np.unique(seen)) == 40
    blocks = np.unique(seen // 8)
    assert np.array_equal(np.sort(seen), (blocks[:, None] * 8 + np.arange(8)).ravel())


class Blocked:
    """A source whose examples are their own numbers, read in blocks."""

    block_size = 8

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def gather(self, indices):
        return {"x": indices.copy()}


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
