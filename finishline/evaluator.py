"""Evaluation in the referee: the reference model with the worker's arrays, on every example."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from finishline.data.pipeline import evaluation_batches
from finishline.data.prefetch import Prefetcher
from finishline.data.records import RecordSource
from finishline.data.sources import Source
from finishline.errors import SubmissionError
from finishline.frameworks.base import NumpyBatch, SnapshotSpec, check_snapshot, create_runtime
from finishline.scorer import Scorer
from finishline.workload import SPLITS, WorkloadDefinition

_EVAL_TRAIN_SEED = 0

# Up to here the examples of all splits are kept as evaluation sees them: they are the same each
# time, and reading them again can take longer than the model.
MAX_KEPT_BYTES = 512 * 2**20


class Evaluator:
    """Measures snapshots of one workload in one framework. Used for all trials of a study.

    Attributes:
      num_examples: examples by split.
    """

    def __init__(
        self,
        definition: WorkloadDefinition,
        framework: str,
        data_dir: Path,
        *,
        num_devices: int = 1,
    ):
        """Opens the data and compiles the evaluation, while the worker sets itself up.

        Args:
          definition: the workload.
          framework: 'jax' or 'pytorch'.
          data_dir: where the data sets lie.
          num_devices: how many devices of this process share the work.
        """
        self._definition = definition
        self._data_dir = data_dir
        self._sources: dict[str, Source | RecordSource] = {
            split: definition.open(data_dir, split) for split in SPLITS
        }
        self.num_examples = {split: len(source) for split, source in self._sources.items()}
        self._runtime = create_runtime(
            framework, definition, self.num_examples, num_devices=num_devices
        )
        example = self._sources["train"].gather(np.zeros(1, dtype=np.int64))
        self._batches = {split: self._open(split, example) for split in SPLITS}
        params, model_state = self._runtime.blank_model(example)
        self._expected = self._runtime.snapshot_spec()
        self._measure(params, model_state)

    @property
    def snapshot_spec(self) -> SnapshotSpec:
        """What a right snapshot holds."""
        return dict(self._expected)

    @property
    def snapshot_bytes(self) -> int:
        """The size of a right snapshot's arrays."""
        return sum(
            int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            for shape, dtype in self._expected.values()
        )

    def parse(self, snapshot: bytes) -> dict[str, np.ndarray]:
        """The arrays of a snapshot in the safetensors format, checked against the model.

        Raises:
          SubmissionError: it is no such file, or its arrays are not the model's, or not finite.
        """
        from safetensors.numpy import load

        try:
            arrays = load(snapshot)
        except (SafetensorError, ValueError, KeyError) as error:
            raise SubmissionError(f"The snapshot is no safetensors file ({error}).") from error
        check_snapshot(arrays, self._expected)
        return arrays

    def evaluate(self, arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
        """All metrics on all splits: ``<split>/<metric>`` and ``<split>/num_examples``."""
        return self._measure(*self._runtime.load_snapshot(arrays))

    def _measure(self, params: Any, model_state: Any) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for split, batches in self._batches.items():
            measured = self._runtime.evaluate(params, model_state, batches, self._scorer())
            metrics |= {f"{split}/{name}": value for name, value in measured.items()}
            metrics[f"{split}/num_examples"] = self._num_evaluated(split)
        return metrics

    def _scorer(self) -> Scorer | None:
        create = self._definition.scorer
        return None if create is None else create(self._definition, self._data_dir)

    def _num_evaluated(self, split: str) -> int:
        if split == "train":
            return self._runtime.workload.num_eval_train_examples
        return self.num_examples[split]

    def _open(self, split: str, example: NumpyBatch) -> Iterable[NumpyBatch]:
        batches = _Batches(
            self._sources[split],
            self._definition.eval_batch_size,
            num_examples=self._num_evaluated(split),
            read_ahead=self._runtime.is_accelerated,
        )
        total = sum(map(self._num_evaluated, SPLITS)) * sum(a.nbytes for a in example.values())
        return _Kept(batches) if total <= MAX_KEPT_BYTES else batches


class _Batches:
    """The evaluation batches of a split, read anew each time."""

    def __init__(
        self,
        source: Source | RecordSource,
        batch_size: int,
        *,
        num_examples: int,
        read_ahead: bool,
    ):
        self._source = source
        self._batch_size = batch_size
        self._num_examples = num_examples
        self._read_ahead = read_ahead

    def __iter__(self) -> Iterator[NumpyBatch]:
        batches = evaluation_batches(
            self._source,
            self._batch_size,
            num_examples=self._num_examples,
            seed=_EVAL_TRAIN_SEED,
        )
        with contextlib.closing(batches):
            if not self._read_ahead:
                yield from batches
                return
            with Prefetcher(batches, lambda batch: batch) as ahead:
                yield from ahead


class _Kept:
    """Batches that stay in memory from the first time that they are read to the end."""

    def __init__(self, batches: Iterable[NumpyBatch]):
        self._batches = batches
        self._kept: list[NumpyBatch] = []

    def __iter__(self) -> Iterator[NumpyBatch]:
        if not self._kept:
            self._kept = list(self._batches)
        return iter(self._kept)
