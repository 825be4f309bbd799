"""The mean average precision of a split, as OGB defines it."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from finishline.workload import WorkloadDefinition

METRIC = "mean_average_precision"


class PrecisionScorer:
    """A ``finishline.scorer.Scorer``; it keeps the logits of all labelled graphs of a split."""

    def __init__(self, definition: WorkloadDefinition, data_dir: Path):
        """Needs nothing of the arguments, which all scorers get."""
        del definition, data_dir
        self._batches: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Takes the ``logits``, (graphs, tasks), of a batch; see ``finishline.scorer.Scorer``."""
        is_labelled = batch["weights"] > 0
        real = is_labelled.any(axis=1)
        self._batches.append((batch["targets"][real], outputs["logits"][real], is_labelled[real]))

    def result(self) -> dict[str, float]:
        """``mean_average_precision`` of all that was added."""
        parts = map(np.concatenate, zip(*self._batches, strict=True))
        return {METRIC: mean_average_precision(*parts)}


def mean_average_precision(
    targets: np.ndarray, scores: np.ndarray, is_labelled: np.ndarray
) -> float:
    """The mean over tasks of the average precision over the graphs that have a label.

    Tasks whose labels are all alike do not count; without any other the mean is NaN.

    Args:
      targets: 0 or 1, (graphs, tasks).
      scores: the larger, the likelier is 1; (graphs, tasks).
      is_labelled: bool, (graphs, tasks).

    Source: Hu et al., 2020, "Open Graph Benchmark", arXiv:2005.00687, section 3.3.
    """
    from sklearn.metrics import average_precision_score

    found = []
    for truth, score, known in zip(targets.T > 0.5, scores.T, is_labelled.T, strict=True):
        if truth[known].any() and not truth[known].all():
            found.append(average_precision_score(truth[known], score[known]))
    return float(np.mean(found)) if found else float("nan")
