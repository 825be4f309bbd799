"""The word error rate of a split, by jiwer."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from finishline.workload import WorkloadDefinition
from workloads.subwords import subwords_of

METRIC = "wer"

# The quirk: AlgoPerf compares the printed forms of string tensors, which begin and end with the
# same text in hypothesis and reference, and so have two words more that are always right.
QUIRK = "inflated_words"
_WORDS_MORE = 2


class WordErrorScorer:
    """A ``finishline.scorer.Scorer``: words that are wrong, by words that were spoken."""

    def __init__(self, definition: WorkloadDefinition, data_dir: Path):
        """Reads the vocabulary of the data set.

        Raises:
          UserError: it is missing or damaged.
        """
        self._pieces = subwords_of(definition, data_dir)
        self._words_more = _WORDS_MORE if QUIRK in definition.quirks else 0
        self._errors = 0
        self._words = 0

    def add(self, batch: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Takes the ``tokens`` of a batch, (batch, frames), filled up with 0; see ``Scorer``."""
        import jiwer

        is_real = batch["weights"] > 0
        if not is_real.any():
            return
        references = self._texts(batch["targets"][is_real])
        counts = jiwer.process_words(references, self._texts(outputs["tokens"][is_real]))
        wrong = counts.substitutions + counts.deletions
        self._errors += wrong + counts.insertions
        self._words += wrong + counts.hits
        self._words += self._words_more * len(references)

    def result(self) -> dict[str, float]:
        """``wer`` of all that was added; NaN if no word was spoken."""
        return {METRIC: self._errors / self._words if self._words else float("nan")}

    def _texts(self, rows: np.ndarray) -> list[str]:
        """The text of each row of pieces; ids that the vocabulary does not have stand for none."""
        rows = np.where(rows < self._pieces.size, rows, 0)
        return [self._pieces.decode(row[row > 0].tolist()) for row in rows]
