import itertools
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from array_record.python import array_record_module

from finishline.data.pipeline import TrainingBatches, evaluation_batches, training_batches
from finishline.data.records import RecordSource, read_examples
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


class Pairs(RecordSource):
    """Numbers; notes what is mixed together, and with which random number."""

    def __init__(self):
        self.mixed = []

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        return {"inputs": np.asarray(index)}

    def mix(self, examples, rng):
        self.mixed.append((examples["inputs"].tolist(), rng.random()))
        return examples


@pytest.mark.parametrize(("batch_size", "world_size"), [(2, 1), (6, 1), (64, 1), (76, 2), (254, 1)])
def test_pairs_are_mixed_whole_and_alike_on_all_ranks(batch_size, world_size):
    whole = take(training_batches(Pairs(), batch_size=batch_size, seed=3), 2)
    for b in range(2):
        expected = whole[b]["inputs"].reshape(-1, 2).tolist()
        pairs, numbers = [], set()
        for rank in range(world_size):
            source = Pairs()
            batches = training_batches(
                source,
                batch_size=batch_size,
                seed=3,
                position=b * batch_size,
                rank=rank,
                world_size=world_size,
                num_threads=0,
            )
            take(batches, 1)
            for examples, number in source.mixed:
                assert len(examples) % 2 == 0
                pairs += np.reshape(examples, (-1, 2)).tolist()
                numbers.add(number)
        assert pairs == expected
        assert len(numbers) == 1


@pytest.mark.parametrize("num_threads", [0, 1, 3])
@pytest.mark.parametrize("batch_size", [1, 3, 33, 65, 1000])
def test_examples_are_read_once_and_in_order(num_threads, batch_size):
    indices = np.arange(0, 400, 3)
    batches = list(read_examples(Pairs(), indices, batch_size, num_threads))
    assert {len(batch["inputs"]) for batch in batches[:-1]} <= {batch_size}
    assert np.array_equal(np.concatenate([batch["inputs"] for batch in batches]), indices)


def test_what_is_read_ahead_is_bounded_and_ends_with_close():
    source = Pairs()
    batches = training_batches(source, batch_size=8, seed=0, num_threads=2)
    next(batches)
    time.sleep(0.1)
    assert len(source.mixed) <= 2 * 4  # parts of the batch handed out and of three more
    batches.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("read")]


def test_pipelines_import_no_framework():
    code = (
        "import sys; from finishline.data.pipeline import training_batches;"
        "from finishline.data.records import RecordSource; import numpy as np\n"
        "class Numbers(RecordSource):\n"
        "    def __len__(self): return 9\n"
        "    def __getitem__(self, index): return {'inputs': np.int64(index)}\n"
        "next(training_batches(Numbers(), batch_size=3, seed=0))\n"
        "sys.exit(repr({'jax', 'torch', 'grain'} & set(sys.modules) or ''))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.strip("'\n") == "", result.stderr
