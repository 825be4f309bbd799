"""The input queue gives the same batches whether or not a thread works ahead."""

import threading
import time

import numpy as np
import pytest

from finishline.data.pipeline import TrainingBatches
from finishline.data.sources import ArraySource
from finishline.feed import Feed, Keys
from finishline.frameworks.base import create_runtime
from finishline.workload import find_workload

BATCH_SIZE = 6
SOURCE = ArraySource({"inputs": np.arange(40, dtype=np.float32), "targets": np.arange(40)})


def make_feed(place, *, position=0, prefetch):
    batches = TrainingBatches(SOURCE, batch_size=BATCH_SIZE, seed=3, position=position)
    return Feed(batches, place, prefetch=prefetch)


@pytest.mark.parametrize("framework", ["jax", "pytorch"])
@pytest.mark.parametrize("prefetch", [False, True])
def test_batches_arrive_on_the_device_in_their_order(framework, prefetch):
    counts = dict.fromkeys(("train", "validation", "test"), 40)
    place = create_runtime(framework, find_workload("quadratic_deep"), counts).place
    expected = TrainingBatches(SOURCE, batch_size=BATCH_SIZE, seed=3)
    feed = make_feed(place, prefetch=prefetch)
    for number in range(1, 31):
        batch, wanted = next(feed), next(expected)
        np.testing.assert_array_equal(np.asarray(batch["inputs"]), wanted["inputs"])
        assert feed.position == number * BATCH_SIZE


@pytest.mark.parametrize("prefetch", [False, True])
def test_what_is_read_ahead_does_not_count_for_a_resume(prefetch):
    whole = make_feed(list, prefetch=prefetch)
    all_targets = [next(whole)["targets"].tolist() for _ in range(20)]
    interrupted = make_feed(list, prefetch=prefetch)
    first = [next(interrupted)["targets"].tolist() for _ in range(7)]
    resumed = make_feed(list, position=interrupted.position, prefetch=prefetch)
    assert first + [next(resumed)["targets"].tolist() for _ in range(13)] == all_targets


def test_a_thread_places_where_the_device_computes_for_itself():
    threads = set()

    def place(batches):
        threads.add(threading.current_thread().name)
        return batches

    next(make_feed(place, prefetch=True))
    assert threads == {"prefetch"}
    next(make_feed(place, prefetch=False))
    assert threads == {"prefetch", threading.current_thread().name}


class Uneven:
    """Batches that hold 1, 2, 3, ... examples."""

    def __init__(self):
        self.position, self._count = 0, 0

    def __next__(self):
        self._count += 1
        self.position += self._count
        return {"inputs": np.full(self._count, self._count)}

    def __iter__(self):
        return self

    def close(self):
        pass


@pytest.mark.parametrize("prefetch", [False, True])
def test_the_position_is_that_after_the_batch_whatever_it_holds(prefetch):
    feed = Feed(Uneven(), list, prefetch=prefetch)
    for number in range(1, 30):
        assert next(feed)["inputs"].tolist() == [number] * number
        assert feed.position == number * (number + 1) // 2


class Slow:
    """Batches that take 20 ms each to make."""

    position = 0

    def __next__(self):
        time.sleep(0.02)
        return {"inputs": np.zeros(2**20, np.float32)}  # so large that each is a chunk

    def __iter__(self):
        return self

    def close(self):
        pass


@pytest.mark.parametrize(("prefetch", "step", "least", "most"), [
    (False, 0.04, 0.019, 0.035),  # gathered while the training loop waits
    (True, 0.04, 0.0, 0.01),  # gathered during the steps
    (True, 0.0, 0.015, 0.035),  # the thread does not keep up
])  # fmt: skip
def test_waiting_for_data_is_measured(prefetch, step, least, most):
    feed = Feed(Slow(), list, prefetch=prefetch)
    next(feed)
    waits = [feed.wait_seconds]
    for _ in range(11):
        time.sleep(step)
        next(feed)
        waits.append(feed.wait_seconds)
    assert least <= np.median(np.diff(waits)) <= most


def test_keys_depend_on_the_step_alone():
    def bits(keys, step):
        return [np.asarray(key).tolist() for key in keys.of(step)]

    in_order, jumping = Keys(7, list), Keys(7, list)
    expected = [bits(in_order, step) for step in range(100)]
    assert [bits(jumping, step) for step in reversed(range(100))] == expected[::-1]
    assert len({str(pair) for pair in expected}) == 100
    assert bits(Keys(8, list), 0) != expected[0]
