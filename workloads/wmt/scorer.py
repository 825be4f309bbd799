"""BLEU of translations, by sacrebleu."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from finishline.workload import WorkloadDefinition
from workloads.subwords import Subwords, subwords_of
from workloads.wmt.shape import END_ID, PAD_ID, UNKNOWN_ID


class BleuScorer:
    """``bleu``: BLEU of a corpus, 0 to 100, as sacrebleu calculates it by default.

    It splits words as WMT's script mteval-v13a did, is case-sensitive and smooths counts of 0
    exponentially. The true translations are what the vocabulary makes of their tokens, as in
    AlgoPerf, and not the files' text: they differ from it in characters that Unicode holds for
    equivalent, in runs of blanks, and where the vocabulary lacks a character.

    Source: Papineni et al., 2002, "BLEU: a method for automatic evaluation of machine
    translation"; Post, 2018, "A call for clarity in reporting BLEU scores", arXiv:1804.08771.
    """

    def __init__(self, pieces: Subwords):
        """Scores texts whose tokens are ids of ``pieces``."""
        self._pieces = pieces
        self._translations: list[str] = []
        self._references: list[str] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Takes a batch of evaluation and ``tokens``, (batch, max_length), its translations."""
        (rows,) = np.nonzero(np.any(batch["weights"] > 0, axis=1))
        for row in rows.tolist():
            self._translations.append(self._text(outputs["tokens"][row]))
            self._references.append(self._text(batch["targets"][row]))

    def result(self) -> dict[str, float]:
        """The metric; NaN where there are no sentences."""
        from sacrebleu.metrics import BLEU

        if not self._references:
            return {"bleu": float("nan")}
        score = BLEU(tokenize="13a", smooth_method="exp", force=True)
        return {"bleu": score.corpus_score(self._translations, [self._references]).score}

    def _text(self, tokens: np.ndarray) -> str:
        """The text of a sentence up to its end, or of all tokens if it has none.

        A model may have more pieces than the vocabulary of a small text; those are unknown.
        """
        ends = np.flatnonzero((tokens == END_ID) | (tokens == PAD_ID))
        sentence = tokens[: ends[0]] if ends.size else tokens
        known = np.where(sentence < self._pieces.size, sentence, UNKNOWN_ID)
        return self._pieces.decode(known.tolist())


def bleu_scorer(definition: WorkloadDefinition, data_dir: Path) -> BleuScorer:
    """The scorer of a split; see ``WorkloadDefinition.scorer``.

    Raises:
      UserError: the vocabulary is missing or damaged.
    """
    return BleuScorer(subwords_of(definition, data_dir))
