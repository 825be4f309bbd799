"""Batches that threads fill row by row."""

import numpy as np
import pytest

from finishline.data.read_ahead import BatchInProgress, read_ahead

PLANS = [[(slice(0, 3), range(b, b + 3)), (slice(3, 5), range(b + 3, b + 5))] for b in (0, 5, 10)]


def read(part):
    return ({"inputs": np.full(2, i, np.float32), "targets": np.int32(i)} for i in part)


def in_place(part, examples):
    examples["inputs"] *= 2
    return examples


def other_targets(part, examples):
    """Changes the type and the shape of one field, and drops none."""
    examples["targets"] = np.eye(20)[examples["targets"]]
    return examples


def renamed(part, examples):
    return {"pixels": examples["inputs"]}


@pytest.mark.parametrize("num_threads", [0, 1, 3])
@pytest.mark.parametrize("mix", [None, in_place, other_targets, renamed])
def test_mixing_may_change_or_replace_fields(mix, num_threads):
    for plan, batch in zip(PLANS, read_ahead(PLANS, read, mix, num_threads), strict=True):
        numbers = np.array([i for _, part in plan for i in part])
        rows = np.stack([numbers, numbers], axis=1).astype(np.float32)
        expected = {
            None: {"inputs": rows, "targets": numbers.astype(np.int32)},
            in_place: {"inputs": 2 * rows, "targets": numbers.astype(np.int32)},
            other_targets: {"inputs": rows, "targets": np.eye(20)[numbers]},
            renamed: {"pixels": rows},
        }[mix]
        assert batch.keys() == expected.keys()
        for name, array in batch.items():
            assert array.dtype == expected[name].dtype
            np.testing.assert_array_equal(array, expected[name])


def test_examples_are_mixed_where_they_lie_in_the_batch():
    seen = []

    def noted(part, examples):
        seen.append(examples["inputs"])
        return examples

    (batch,) = read_ahead(PLANS[:1], read, noted, num_threads=0)
    assert len(seen) == 2
    assert all(np.shares_memory(views, batch["inputs"]) for views in seen)


def test_examples_of_other_shapes_are_refused():
    examples = [{"inputs": np.zeros(2)}, {"inputs": np.zeros(3)}]
    with pytest.raises(ValueError, match="shape"):
        BatchInProgress(2).write(slice(0, 2), examples)
