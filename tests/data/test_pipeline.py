import collections
import itertools

import numpy as np
import pytest

from finishline.data import pipeline
from finishline.data.pipeline import TrainingBatches, evaluation_batches
from finishline.data.shuffle import training_indices
from finishline.data.sources import ArraySource

N = 23


@pytest.fixture
def source():
    return ArraySource(
        {"inputs": np.arange(N, dtype=np.float32)[:, None] * np.ones(5, np.float32),
         "targets": np.arange(N, dtype=np.int32)}
    )  # fmt: skip


@pytest.fixture(params=[0, 200, 2**20], autouse=True)
def chunk_bytes(request, monkeypatch):
    """Every test holds whether batches are gathered one at a time or many."""
    monkeypatch.setattr(pipeline, "CHUNK_BYTES", request.param)


def take(batches, count):
    return [batch["targets"] for batch in itertools.islice(batches, count)]


@pytest.mark.parametrize("batch_size", [1, 4, 23, 60])
def test_batches_follow_the_training_order(source, batch_size):
    batches = TrainingBatches(source, batch_size=batch_size, seed=9)
    for step, batch in enumerate(itertools.islice(batches, 20)):
        start = step * batch_size
        expected = training_indices(N, 9, start, start + batch_size)
        assert np.array_equal(batch["targets"], expected)
        assert np.array_equal(batch["inputs"][:, 3], expected.astype(np.float32))
        assert all(array.flags.c_contiguous for array in batch.values())
        assert batches.position == start + batch_size


def test_every_example_comes_once_an_epoch(source):
    seen = np.concatenate(take(TrainingBatches(source, batch_size=5, seed=1), N))
    for epoch in range(5):
        assert np.array_equal(np.sort(seen[epoch * N : (epoch + 1) * N]), np.arange(N))


def test_batches_are_never_overwritten(source):
    batches = list(itertools.islice(TrainingBatches(source, batch_size=4, seed=2), 100))
    copies = [batch["targets"].copy() for batch in batches]
    assert all(np.array_equal(b["targets"], c) for b, c in zip(batches, copies, strict=True))
    batches[0]["targets"][:] = -1
    assert np.array_equal(batches[1]["targets"], copies[1])


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_ranks_together_see_the_batches_of_one(source, world_size):
    whole = take(TrainingBatches(source, batch_size=6, seed=3), 30)
    ranks = [
        take(TrainingBatches(source, batch_size=6, seed=3, rank=r, world_size=world_size), 30)
        for r in range(world_size)
    ]
    for expected, *parts in zip(whole, *ranks, strict=True):
        assert np.array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize("steps", [0, 1, 5, 6, 40])
@pytest.mark.parametrize("rank", [0, 1])
def test_position_resumes_exactly(source, steps, rank):
    arguments = {"batch_size": 4, "seed": 8, "rank": rank, "world_size": 2}
    first = TrainingBatches(source, **arguments)
    take(first, steps)
    resumed = TrainingBatches(source, position=first.position, **arguments)
    assert np.array_equal(take(resumed, 10), take(first, 10))
    assert resumed.position == first.position


def test_position_counts_only_what_was_handed_out(source):
    batches = TrainingBatches(source, batch_size=2, seed=0)
    assert batches.position == 0
    next(batches)
    next(batches)  # from a chunk, where there is one
    assert batches.position == 4


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 5, "world_size": 2},
        {"batch_size": 0},
        {"batch_size": -2},
        {"batch_size": 4, "rank": 2, "world_size": 2},
        {"batch_size": 4, "rank": -1},
        {"batch_size": 4, "world_size": 0},
        {"batch_size": 4, "seed": -1},
    ],
)
def test_numbers_out_of_range_are_refused(source, arguments):
    with pytest.raises(ValueError, match=r"\d"):
        TrainingBatches(source, **{"seed": 0, **arguments})


def test_a_chunk_is_bounded(monkeypatch):
    gathered = []

    class Counted(ArraySource):
        def gather(self, indices):
            gathered.append(len(indices))
            return super().gather(indices)

    monkeypatch.setattr(pipeline, "CHUNK_BYTES", 1000)
    batches = TrainingBatches(Counted({"x": np.zeros((50, 10), np.uint8)}), batch_size=7, seed=0)
    for _ in range(100):
        next(batches)
    assert max(gathered) == 1000 // 70 * 7


@pytest.mark.parametrize("batch_size", [1, 4, 22, 23, 24, 100])
@pytest.mark.parametrize("num_examples", [None, 23, 1000, 10, 1])
def test_evaluation_covers_each_example_once(source, batch_size, num_examples):
    counts = collections.Counter()
    for batch in evaluation_batches(source, batch_size, num_examples=num_examples):
        weights = batch["weights"]
        assert weights.dtype == np.float32
        assert weights.shape == (batch_size,)
        assert {len(array) for array in batch.values()} == {batch_size}
        assert not batch["inputs"][weights == 0].any()
        counts.update(batch["targets"][weights == 1].tolist())
    expected = min(num_examples or N, N)
    assert set(counts.values()) == {1}
    assert len(counts) == expected


def test_the_evaluated_subset_is_fixed(source):
    def subset(seed, batch_size):
        batches = evaluation_batches(source, batch_size, num_examples=10, seed=seed)
        return np.concatenate([b["targets"][b["weights"] == 1] for b in batches]).tolist()

    assert subset(0, 3) == subset(0, 10)
    assert subset(0, 3) != subset(1, 3)
    assert subset(0, 3) != list(range(10))


def test_evaluation_needs_a_batch_size(source):
    with pytest.raises(ValueError, match="not 0"):
        next(evaluation_batches(source, 0))
