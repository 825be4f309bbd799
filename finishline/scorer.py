"""Metrics that are no mean over examples: of a whole split's outputs together, on the host."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Scorer(Protocol):
    """Takes the outputs of one split in one evaluation, batch by batch; for BLEU, WER and others.

    The outputs are what ``predict`` of the model's module makes of a batch, or else the logits.
    """

    def add(self, batch: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Takes a batch of evaluation and its outputs.

        Args:
          batch: as the model was given it; rows whose ``weights`` are all 0 are filling.
          outputs: arrays with as many rows.
        """

    def result(self) -> dict[str, float]:
        """The metrics of all that was added, by name."""
