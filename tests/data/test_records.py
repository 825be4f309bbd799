import itertools
import time

import numpy as np
import pytest
from array_record.python import array_record_module

from finishline.data.pipeline import TrainingBatches, evaluation_batches, training_batches
from finishline.data.records import RecordSource
from finishline.data.sources import ArraySource

N = 37


class ArrayRecordFile(RecordSource):
    """Records of 6 float32 in one ArrayRecord file; adds noise in training."""

    def __init__(self, path, noise=True):
        self.path = str(path)
        self.noise = noise
        self.reader = None

    def __len__(self):
        return N

    def __getitem__(self, index):
        if self.reader is None:
            self.reader = array_record_module.ArrayRecordReader(self.path)
        (content,) = self.reader.read([index])
        # Records come in at different speeds; the order must not depend on it.
        time.sleep(0.001 * (index % 3))
        values = np.frombuffer(content, np.float32)
        return {"inputs": values, "targets": np.int32(values[0])}

    def augment(self, record, rng):
        if not self.noise:
            return record
        noise = rng.normal(size=6).astype(np.float32)
        return record | {"inputs": record["inputs"] + noise}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "train.array_record"
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    for index in range(N):
        writer.write((index + np.arange(6, dtype=np.float32) / 8).tobytes())
    writer.close()
    return path


@pytest.fixture
def in_memory():
    inputs = np.arange(N, dtype=np.float32)[:, None] + np.arange(6, dtype=np.float32) / 8
    return ArraySource({"inputs": inputs, "targets": np.arange(N, dtype=np.int32)})


def take(batches, count):
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def assert_equal(actual, expected):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name].dtype == b[name].dtype
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("arguments", [{}, {"rank": 0}, {"rank": 1}, {"position": 31}])
def test_records_give_the_batches_of_arrays(path, in_memory, arguments):
    arguments = {"batch_size": 8, "seed": 4, **arguments}
    if "rank" in arguments:
        arguments["world_size"] = 2
    expected = take(TrainingBatches(in_memory, **arguments), 12)
    source = ArrayRecordFile(path, noise=False)
    assert_equal(take(training_batches(source, **arguments), 12), expected)


@pytest.mark.parametrize("num_threads", [0, 1, 5])
def test_augmentation_does_not_depend_on_threads(path, num_threads):
    source = ArrayRecordFile(path)
    expected = take(training_batches(source, batch_size=6, seed=4), 14)
    actual = take(training_batches(source, batch_size=6, seed=4, num_threads=num_threads), 14)
    assert_equal(actual, expected)


def test_augmentation_differs_between_epochs(path):
    first, second = take(training_batches(ArrayRecordFile(path), batch_size=N, seed=4), 2)
    noise = [b["inputs"][np.argsort(b["targets"])] for b in (first, second)]
    assert not np.isclose(noise[0], noise[1]).any(axis=1).all()


@pytest.mark.parametrize("steps", [0, 1, 9])
def test_position_resumes_exactly(path, steps):
    source = ArrayRecordFile(path)
    whole = training_batches(source, batch_size=6, seed=7)
    for _ in range(steps):
        next(whole)
    assert whole.position == 6 * steps  # although more has been read
    resumed = training_batches(source, batch_size=6, seed=7, position=whole.position)
    assert_equal(take(resumed, 8), take(whole, 8))


def test_errors_of_a_source_reach_the_consumer(path):
    class Broken(ArrayRecordFile):
        def __getitem__(self, index):
            raise OSError(f"record {index} is unreadable")

    batches = training_batches(Broken(path), batch_size=4, seed=0)
    with pytest.raises(OSError, match="unreadable"):
        next(batches)
    batches.close()


def test_evaluation_reads_each_record_once_without_augmentation(path, in_memory):
    actual = list(evaluation_batches(ArrayRecordFile(path), 10))
    assert_equal(actual, list(evaluation_batches(in_memory, 10)))
