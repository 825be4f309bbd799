"""Every example is evaluated exactly once, whatever the batch size and the number of devices."""

import collections
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from finishline import evaluator
from finishline.data.records import RecordSource
from finishline.data.sources import ArraySource, BatchingSource
from finishline.evaluator import Evaluator
from finishline.frameworks.base import create_runtime
from finishline.workload import SPLITS, all_workloads

ROOT = Path(__file__).resolve().parent.parent.parent
EMBEDDED = {name: w for name, w in all_workloads().items() if w.is_embedded}
BATCH_SIZES = [7, 64]
FRAMEWORKS = ["jax", "pytorch"]
NUM_EXAMPLES = {"train": 53, "validation": 41, "test": 30}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A data directory with the data of all workloads that come with the project."""
    folder = tmp_path_factory.mktemp("data")
    for dataset in {w.dataset.name: w.dataset for w in EMBEDDED.values()}.values():
        dataset.prepare(folder)
    return folder


class Part:
    """The first examples of a source."""

    def __init__(self, source, count, counter):
        self.source, self.count, self.counter = source, count, counter

    def __len__(self):
        return self.count

    def gather(self, indices):
        self.counter.update(indices.tolist())
        return self.source.gather(indices)


class RecordPart(Part, RecordSource):
    """The first records of a source."""

    def __getitem__(self, index):
        self.counter[index] += 1
        return self.source[index]

    def preprocess(self, record):
        return self.source.preprocess(record)

    def gather(self, indices):
        return RecordSource.gather(self, indices)


class BatchingPart(Part):
    """The first examples of a source that makes its own batches."""

    def training_batches(self, **arguments):
        raise NotImplementedError

    def evaluation_batches(self, indices, batch_size):
        self.counter.update(indices.tolist())
        return self.source.evaluation_batches(indices, batch_size)


@dataclasses.dataclass(eq=False)
class Probe:
    """A data set's first examples; counts how often each is read."""

    dataset: object
    counts: dict = dataclasses.field(
        default_factory=lambda: {split: collections.Counter() for split in SPLITS}
    )

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def open(self, data_dir, split, quirks=frozenset()):
        source = self.dataset.open(data_dir, split, quirks)
        kind = RecordPart if isinstance(source, RecordSource) else Part
        kind = BatchingPart if isinstance(source, BatchingSource) else kind
        return kind(source, NUM_EXAMPLES[split], self.counts[split])


def probed(name, batch_size):
    """A small part of workload ``name``, evaluated in batches of ``batch_size``."""
    workload = EMBEDDED[name]
    return workload.variant(
        name,
        dataset=Probe(workload.dataset),
        eval_batch_size=batch_size,
        num_eval_train_examples=NUM_EXAMPLES["train"],
    )


def snapshot(workload, framework, data_dir):
    """Initial arrays, moved a little, as a worker would send them."""
    runtime = create_runtime(framework, workload, NUM_EXAMPLES)
    example = workload.open(data_dir, "train").gather(np.zeros(1, np.int64))
    arrays = runtime.snapshot(*runtime.init_model(0, example))
    generator = np.random.default_rng(0)
    return {
        name: a if a.dtype.kind != "f" else a + generator.normal(0, 0.02, a.shape).astype(a.dtype)
        for name, a in arrays.items()
    }


def assert_same(metrics, expected):
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        assert np.isfinite(value), name
        actual = metrics[name]
        if name.endswith("/ppl"):  # the mean loss is what is summed
            actual, value = np.log(actual), np.log(value)
        assert actual == pytest.approx(value, rel=1e-6, abs=1e-7), name


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", EMBEDDED)
def test_each_example_counts_once_whatever_the_batch_size(name, framework, data_dir, monkeypatch):
    monkeypatch.setattr(evaluator, "MAX_KEPT_BYTES", 0)
    results = []
    for batch_size in BATCH_SIZES:
        workload = probed(name, batch_size)
        arrays = snapshot(workload, framework, data_dir)
        referee = Evaluator(workload, framework, data_dir)
        for counter in workload.dataset.counts.values():
            counter.clear()
        results.append(referee.evaluate(arrays))
        for split, counter in workload.dataset.counts.items():
            assert len(counter) == NUM_EXAMPLES[split] == results[-1][f"{split}/num_examples"]
            assert set(counter.values()) == {1}
    assert_same(results[1], results[0])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_metrics_are_means_over_the_examples(framework, data_dir):
    """Each example alone, summed on the host, gives what the whole split does."""
    workload = probed("digits", 16)
    arrays = snapshot(workload, framework, data_dir)
    whole = Evaluator(workload, framework, data_dir).evaluate(arrays)
    runtime = create_runtime(framework, workload, NUM_EXAMPLES)
    sums = collections.Counter()
    for i in range(NUM_EXAMPLES["test"]):
        example = workload.open(data_dir, "test").gather(np.array([i]))
        batch = {**example, "weights": np.ones(1, np.float32)}
        sums.update(runtime.evaluate(*runtime.load_snapshot(arrays), [batch]))
    for name, total in sums.items():
        assert whole[f"test/{name}"] == pytest.approx(total / NUM_EXAMPLES["test"], rel=1e-6)


class Hits:
    """A scorer that counts correct labels, and must never see filling as an example."""

    def __init__(self, definition, data_dir):
        self.hits = self.count = 0

    def add(self, batch, outputs):
        real = batch["weights"] > 0
        assert len(outputs["logits"]) == len(real)
        self.hits += int((outputs["logits"].argmax(-1) == batch["targets"])[real].sum())
        self.count += int(real.sum())

    def result(self):
        return {"hits": self.hits / self.count}


def measure_hits(framework, data_dir, num_devices=1):
    """Accuracy on digits, by the device and by a scorer on the host."""
    workload = probed("digits", 16)
    workload = workload.variant("digits", scorer=Hits, metrics=("hits", "accuracy"))
    arrays = snapshot(workload, framework, data_dir)
    return Evaluator(workload, framework, data_dir, num_devices=num_devices).evaluate(arrays)


def assert_hits_are_accuracy(metrics):
    for split in SPLITS:
        assert metrics[f"{split}/hits"] == pytest.approx(metrics[f"{split}/accuracy"], rel=1e-6)
        assert metrics[f"{split}/num_examples"] == NUM_EXAMPLES[split]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_scorer_gets_the_outputs_of_each_example_once(framework, data_dir):
    assert_hits_are_accuracy(measure_hits(framework, data_dir))


@pytest.mark.parametrize("name", ["digits", "imagenet_resnet_mini"])
def test_small_splits_are_read_once(name, data_dir):
    workload = probed(name, 16)
    referee = Evaluator(workload, "pytorch", data_dir)
    for counter in workload.dataset.counts.values():
        counter.clear()
    arrays = snapshot(workload, "pytorch", data_dir)
    for counter in workload.dataset.counts.values():
        counter.clear()
    first = referee.evaluate(arrays)
    assert referee.evaluate(arrays) == first
    assert not any(workload.dataset.counts.values())


def test_batches_are_read_ahead_where_the_device_is_another(monkeypatch):
    source = ArraySource({"inputs": np.arange(10), "targets": np.arange(10)})
    ahead = evaluator._Batches(source, 4, num_examples=10, read_ahead=True)
    plain = evaluator._Batches(source, 4, num_examples=10, read_ahead=False)
    for _ in range(2):
        for a, b in zip(ahead, plain, strict=True):
            assert a.keys() == b.keys()
            assert all(np.array_equal(a[name], b[name]) for name in a)


def in_other_process(code, num_ranks=1, **environment):
    """Runs ``code`` with this module as ``test``; returns the metrics that rank 0 prints."""
    script = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('test', {__file__!r})\n"
        "test = importlib.util.module_from_spec(spec)\n"
        "sys.modules['test'] = test\n"
        "spec.loader.exec_module(test)\n"
        "import json\nfrom pathlib import Path\n"
        f"{code}\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": str(num_ranks), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(num_ranks)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-2000:]
    results = [json.loads(output.splitlines()[-1]) for output, _ in outputs]
    assert all(result == results[0] for result in results)
    return results[0]


EVALUATE_ALL = """
def measure(framework, name, batch_size, num_devices):
    workload = test.probed(name, batch_size)
    arrays = test.snapshot(workload, framework, data_dir)
    referee = test.Evaluator(workload, framework, data_dir, num_devices=num_devices)
    return referee.evaluate(arrays)

data_dir = Path({data_dir!r})
print(json.dumps({{
    name + " " + str(size): measure({framework!r}, name, size, {num_devices})
    for name in {names!r} for size in {sizes!r}
}}))
"""


def results_of(
    framework, num_devices, data_dir, prologue="", epilogue="", num_ranks=1, **environment
):
    code = EVALUATE_ALL.format(
        data_dir=str(data_dir),
        framework=framework,
        num_devices=num_devices,
        names=list(EMBEDDED),
        sizes=[16],
    )
    return in_other_process(prologue + code + epilogue, num_ranks, **environment)


def joined(folder, num_ranks):
    """Code with which the processes of ``in_other_process`` become ranks."""
    return (
        "import torch.distributed as dist\n"
        f"dist.init_process_group('gloo', init_method='file://{folder}/store',\n"
        f"    rank=int(test.os.environ['RANK']), world_size={num_ranks})\n"
    )


# A rank that ends while another still listens to it can make that one fail.
LEAVE_TOGETHER = "sys.stdout.flush()\ndist.barrier()\ndist.destroy_process_group()\n"


@pytest.fixture(scope="module")
def single(data_dir):
    """What one device measures, by framework."""
    return {framework: results_of(framework, 1, data_dir) for framework in FRAMEWORKS}


@pytest.mark.parametrize("num_devices", [2, 3])
def test_several_jax_devices_measure_as_one(single, data_dir, num_devices):
    flags = f"--xla_force_host_platform_device_count={num_devices}"
    results = results_of("jax", num_devices, data_dir, XLA_FLAGS=flags)
    for name, expected in single["jax"].items():
        assert_same(results[name], expected)


MEASURE_HITS = "print(json.dumps(test.measure_hits({!r}, Path({!r}), num_devices={})))\n"


def test_a_scorer_gets_the_outputs_of_several_jax_devices(data_dir):
    code = MEASURE_HITS.format("jax", str(data_dir), 3)
    flags = "--xla_force_host_platform_device_count=3"
    assert_hits_are_accuracy(in_other_process(code, XLA_FLAGS=flags))


def test_a_scorer_gets_the_outputs_of_all_pytorch_ranks(data_dir, tmp_path):
    code = MEASURE_HITS.format("pytorch", str(data_dir), 1)
    code = joined(tmp_path, 3) + code + LEAVE_TOGETHER
    assert_hits_are_accuracy(in_other_process(code, num_ranks=3))


def test_pytorch_replicas_that_take_turns_measure_as_one(single, data_dir):
    results = results_of("pytorch", 3, data_dir)
    for name, expected in single["pytorch"].items():
        assert_same(results[name], expected)


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_pytorch_ranks_measure_as_one(single, data_dir, tmp_path, num_ranks):
    prologue = joined(tmp_path, num_ranks)
    results = results_of("pytorch", num_ranks, data_dir, prologue, LEAVE_TOGETHER, num_ranks)
    for name, expected in single["pytorch"].items():
        assert_same(results[name], expected)
