"""Input pipelines: examples per second, stage by stage, and against a plain PyTorch DataLoader.

Usage: ``python -m benchmarks.pipelines [--cases=cifar] [--seconds=2] [--output=docs/pipelines.md]``

Data are made up in the original formats and sizes, prepared, and read as training reads them. The
alternative is what one would write first: a ``torch.utils.data.DataLoader`` with a map-style
dataset that calls the same functions for one example at a time, default collation (followed by
mixup where the workload has it), shuffling, and as many worker processes as the pipeline has
threads, one a core. Text is not packed there, nor are graphs put into batches of one size. Both are
warmed up, then measured in turn, which comes first by turns; the ratio is the median of the
rounds'. Where other programs use the cores, the pipeline loses more than the alternative: if one of
its threads is stopped while it holds Python's lock, all wait.
"""

import contextlib
import dataclasses
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from absl import flags

from finishline import commandline
from finishline.data.keyed import ExampleRandom, batch_generator, example_generator
from finishline.data.pipeline import training_batches
from finishline.data.prefetch import available_cores
from finishline.data.read_ahead import BatchInProgress
from finishline.data.records import RecordSource
from finishline.data.shuffle import TrainingOrder
from finishline.data.sources import AugmentedSource, BatchingSource, Source

flags.DEFINE_list("cases", None, "Names of workloads. Default: all.")
flags.DEFINE_float("seconds", 2.0, "How long each pipeline is measured in each round.")
flags.DEFINE_integer("rounds", 5, "Rounds, each with both pipelines.", lower_bound=1)
flags.DEFINE_string("output", None, "Markdown file for the table.")

_STAGES = ("read", "augment", "write", "mix", "gather")
_STAGE_EXAMPLES = 256


@dataclasses.dataclass(frozen=True)
class Case:
    """A workload's training pipeline.

    Attributes:
      workload: its name.
      batch_size: examples a batch.
      sizes: how much is made up; see ``workloads.samples``.
      note: what the examples are, for the table.
    """

    workload: str
    batch_size: int
    sizes: Mapping[str, int]
    note: str


_JPEGS = {"num_train": 96, "num_test": 8, "height": 375, "width": 500}
CASES = (
    Case("imagenet_resnet", 128, _JPEGS, "JPEG of 500 x 375, crop and flip, 224 x 224"),
    Case("imagenet_vit", 128, _JPEGS, "the same, RandAugment and mixup"),
    Case("fastmri", 8, {"num_train": 24, "num_test": 2}, "k-space of 640 x 368, 320 x 320"),
    Case("cifar", 128, {"num_train": 20_000, "num_test": 100}, "shift and flip, 32 x 32"),
    Case("criteo1tb", 4_096, {"num_train": 100_000, "num_test": 1_000}, "rows of 39 features"),
    Case("librispeech_conformer", 64, {"num_train": 256, "num_test": 8}, "samples of 20 s"),
    Case("wmt", 128, {"num_train": 20_000, "num_test": 100}, "pairs, packed into rows of 256"),
    Case("ogbg", 512, {"num_train": 20_000, "num_test": 100}, "graphs, in batches of one size"),
    Case("finewebedu_lm", 64, {"num_train": 256, "num_test": 8}, "windows of 1,024 tokens"),
)


def main(argv: list[str]) -> int:
    """Measures the cases and prints a table."""
    del argv
    wanted = set(flags.FLAGS.cases or [case.workload for case in CASES])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if case.workload in wanted:
                rows.append(_measure(case, Path(folder)))
                print(_row(rows[-1]), flush=True)
    if flags.FLAGS.output:
        Path(flags.FLAGS.output).write_text(_page(rows))
    return 0


def _measure(case: Case, data_dir: Path) -> dict[str, Any]:
    """The figures of one case, all in examples a second."""
    from finishline.workload import find_workload
    from workloads.samples import prepare_sample

    workload = find_workload(case.workload)
    prepare_sample(workload, data_dir, **case.sizes)
    source = workload.open(data_dir, "train")
    rates: dict[Callable[..., float], list[float]] = {_pipeline_rate: [], _data_loader_rate: []}
    for number in range(flags.FLAGS.rounds):
        for rate in list(rates)[:: -1 if number % 2 else 1]:
            rates[rate].append(rate(source, case.batch_size))
    ours, theirs = rates.values()
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "case": case,
        "stages": stage_rates(source, case.batch_size),
        "ours": statistics.median(ours),
        "theirs": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "range": (min(ratios), max(ratios)),
    }


def _pipeline_rate(source: Source | RecordSource, batch_size: int) -> float:
    with contextlib.closing(training_batches(source, batch_size=batch_size, seed=0)) as batches:
        return _rate(batches, lambda _: batches.position)


def _data_loader_rate(source: Source | RecordSource, batch_size: int) -> float:
    return _rate(iter(_data_loader(source, batch_size)), lambda count: count * batch_size)


def _rate(batches: Iterator[Any], num_examples: Callable[[int], int]) -> float:
    """Examples a second, after a warm-up that takes what has been read ahead.

    Args:
      batches: endless.
      num_examples: how many examples so many batches had.
    """
    warm_up = 3
    for _ in range(warm_up):
        next(batches)
    before = num_examples(warm_up)
    started = time.perf_counter()
    for count in itertools.count(warm_up + 1):
        next(batches)
        seconds = time.perf_counter() - started
        if seconds >= flags.FLAGS.seconds:
            return (num_examples(count) - before) / seconds
    raise AssertionError


def stage_rates(source: Source | RecordSource, batch_size: int) -> dict[str, float]:
    """Examples that one core brings through each stage in a second of its time.

    The stages of a record source are ``read``, ``augment`` (with decoding), ``write`` (into
    the batch) and ``mix``; of another source there is one, ``gather``.
    """
    if not isinstance(source, RecordSource):
        order = TrainingOrder(len(source), 0, getattr(source, "block_size", 1))
        indices = order.indices(0, batch_size)
        return {"gather": batch_size / _seconds(lambda: _gather(source, indices))}
    count = min(_STAGE_EXAMPLES, 4 * len(source))
    indices = [index % len(source) for index in range(count)]
    records = [source[index] for index in indices]
    examples = [
        source.augment(record, example_generator(0, 0, index))
        for index, record in zip(indices, records, strict=True)
    ]
    rows = slice(0, count)
    batch = BatchInProgress(count).write(rows, examples)
    functions: dict[str, Callable[[], Any]] = {
        "read": lambda: [source[index] for index in indices],
        "augment": lambda: [
            source.augment(record, example_generator(0, 0, index))
            for index, record in zip(indices, records, strict=True)
        ],
        "write": lambda: BatchInProgress(count).write(rows, examples),
        "mix": lambda: source.mix(dict(batch), batch_generator(0, 0)),
    }
    if not _mixes(source):
        del functions["mix"]
    return {name: count / _seconds(function) for name, function in functions.items()}


def _mixes(source: Source | RecordSource) -> TypeGuard[RecordSource]:
    return isinstance(source, RecordSource) and type(source).mix is not RecordSource.mix


def _gather(source: Source, indices: np.ndarray, epoch: int = 0) -> dict[str, np.ndarray]:
    if isinstance(source, AugmentedSource):
        random = ExampleRandom(0, np.full(len(indices), epoch, np.int64), indices)
        return source.gather_augmented(indices, random)
    return source.gather(indices)


def _seconds(function: Callable[[], Any]) -> float:
    """The least time of this thread that a call takes, of three."""
    times = []
    for _ in range(3):
        started = time.thread_time()
        function()
        times.append(time.thread_time() - started)
    return min(times)


class _Examples:
    """A map-style dataset of single examples, each augmented anew whenever it is asked for."""

    def __init__(self, source: Source | RecordSource):
        self._source = source

    def __len__(self) -> int:
        return 10_000_000  # an epoch without end, so that its start is not measured

    def __getitem__(self, number: int) -> Mapping[str, Any]:
        epoch, index = divmod(number, len(self._source))
        if isinstance(self._source, RecordSource):
            return self._source.augment(self._source[index], example_generator(0, epoch, index))
        batch = _gather(self._source, np.array([index]), epoch)
        return {name: array[0] for name, array in batch.items()}


class _Batches(_Examples):
    """The same of a source whose examples are not of one size: it reads a batch of them at once."""

    def __getitems__(self, numbers: Sequence[int]) -> dict[str, np.ndarray]:
        return _gather(self._source, np.array(numbers) % len(self._source))


def _as_tensors(batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array) for name, array in batch.items()}


@dataclasses.dataclass
class _Collation:
    """Makes tensors of examples, and mixes them if the source does."""

    source: RecordSource
    rng: np.random.Generator = dataclasses.field(default_factory=np.random.default_rng)

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        batch = torch.utils.data.default_collate(list(examples))
        arrays = {name: tensor.numpy() for name, tensor in batch.items()}
        mixed = self.source.mix(dict(arrays), self.rng)
        changed = {name: array for name, array in mixed.items() if array is not arrays[name]}
        return batch | {name: torch.from_numpy(array) for name, array in changed.items()}


def _collation(source: Source | RecordSource) -> Callable[[Any], dict[str, Any]] | None:
    """What makes a batch of what the workers read; None is PyTorch's default."""
    if isinstance(source, BatchingSource):
        return _as_tensors
    return _Collation(source) if _mixes(source) else None


def _data_loader(source: Source | RecordSource, batch_size: int) -> Any:
    import torch
    from torch.utils.data import DataLoader, RandomSampler

    dataset: Any = _Examples(source)
    if isinstance(source, BatchingSource):
        dataset = _Batches(source)
    return DataLoader(
        dataset,
        batch_size,
        sampler=RandomSampler(dataset, generator=torch.Generator().manual_seed(0)),
        num_workers=available_cores(),
        collate_fn=_collation(source),
    )


def _row(row: Mapping[str, Any]) -> str:
    cores = available_cores()
    stages = [f"{row['stages'][s]:,.0f}" if s in row["stages"] else "" for s in _STAGES]
    low, high = row["range"]
    cells = [
        f"{row['case'].workload}: {row['case'].note}",
        *stages,
        f"{row['ours'] / cores:,.0f}",
        f"{row['theirs'] / cores:,.0f}",
        f"{row['ratio']:.2f} ({low:.2f} to {high:.2f})",
    ]
    return f"| {' | '.join(cells)} |"


def _page(rows: list[dict[str, Any]]) -> str:
    processor = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        os.uname().machine,
    )
    header = ["pipeline", *_STAGES, "whole", "DataLoader", "ratio"]
    return (
        "# Input pipelines\n\n"
        "Made by `make bench-pipelines`, which says how. Examples a second and core: of each stage "
        "by itself, in the\ntime of one thread, and of the whole pipeline against a plain PyTorch "
        f"`DataLoader` that does the same\nwork, both on {available_cores()} cores of {processor}."
        " Criteo's rows are shuffled in blocks of\nneighbours by the pipeline and singly by the "
        f"`DataLoader`.\n\n| {' | '.join(header)} |\n| :-- |{' --: |' * (len(header) - 1)}\n"
        + "\n".join(map(_row, rows))
        + "\n"
    )


if __name__ == "__main__":
    commandline.run(main)
