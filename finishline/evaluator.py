"""Evaluation in the referee: the reference model with the worker's arrays, on every example."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from finishline.data.pipeline import evaluation_batches
from finishline.data.records import RecordSource
from finishline.data.sources import Source
from finishline.errors import SubmissionError
from finishline.frameworks.base import check_snapshot, create_runtime
from finishline.workload import SPLITS, WorkloadDefinition

_EVAL_TRAIN_SEED = 0


class Evaluator:
    """Measures snapshots of one workload in one framework. Used for all trials of a study.

    Attributes:
      num_examples: examples by split.
    """

    def __init__(self, definition: WorkloadDefinition, framework: str, data_dir: Path):
        self._definition = definition
        self._sources: dict[str, Source | RecordSource] = {
            split: definition.open(data_dir, split) for split in SPLITS
        }
        self.num_examples = {split: len(source) for split, source in self._sources.items()}
        self._runtime = create_runtime(framework, definition, self.num_examples)
        example = self._sources["train"].gather(np.zeros(1, dtype=np.int64))
        params, model_state = self._runtime.blank_model(example)
        self._expected = self._runtime.snapshot_spec()
        # Compiles the evaluation while the worker sets itself up, instead of during the race.
        self._measure(params, model_state)

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
        for split, source in self._sources.items():
            count = self._num_evaluated(split)
            batches = evaluation_batches(
                source,
                self._definition.eval_batch_size,
                num_examples=count,
                seed=_EVAL_TRAIN_SEED,
            )
            measured = self._runtime.evaluate(params, model_state, batches)
            metrics |= {f"{split}/{name}": value for name, value in measured.items()}
            metrics[f"{split}/num_examples"] = count
        return metrics

    def _num_evaluated(self, split: str) -> int:
        if split == "train":
            return self._runtime.workload.num_eval_train_examples
        return self.num_examples[split]
