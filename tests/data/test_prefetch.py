import itertools
import threading
import time

import pytest

from finishline.data.prefetch import Prefetcher


def test_batches_are_placed_in_order_by_the_thread():
    threads = set()

    def place(batch):
        threads.add(threading.current_thread())
        return batch * 10

    with Prefetcher(iter(range(50)), place) as batches:
        assert list(batches) == list(range(0, 500, 10))
        assert batches.position == 50
    assert threading.current_thread() not in threads
    assert len(threads) == 1


@pytest.mark.parametrize("depth", [1, 3])
def test_work_ahead_is_bounded_and_not_counted(depth):
    placed = []
    with Prefetcher(itertools.count(), placed.append, depth) as batches:
        next(batches)
        deadline = time.monotonic() + 5
        while len(placed) < depth + 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.02)
        assert len(placed) == depth + 2  # one handed out, `depth` waiting, one in the thread's hand
        assert batches.position == 1


@pytest.mark.parametrize("where", ["iterator", "place"])
def test_errors_are_raised_at_their_place(where):
    def broken():
        yield 1
        yield 2
        raise OSError("disk gone")

    def place(batch):
        if where == "place" and batch == 2:
            raise OSError("disk gone")
        return batch

    with Prefetcher(broken(), place) as batches:
        expected = [1, 2] if where == "iterator" else [1]
        assert list(itertools.islice(batches, len(expected))) == expected
        for _ in range(2):
            with pytest.raises(OSError, match="disk gone"):
                next(batches)
        assert batches.position == len(expected)


def test_close_ends_a_thread_that_waits():
    batches = Prefetcher(itertools.count(), lambda batch: batch, depth=1)
    next(batches)
    batches.close()
    assert not batches._thread.is_alive()
    with pytest.raises(StopIteration):
        next(batches)
    batches.close()


def test_depth_must_be_positive():
    with pytest.raises(ValueError, match="not 0"):
        Prefetcher(iter(()), lambda batch: batch, depth=0)
