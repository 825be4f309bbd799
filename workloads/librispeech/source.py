"""Prepared utterances, read by index, and their batches.

A shard has the samples of its utterances one after the other (``samples``, int16), their pieces
likewise (``tokens``, int32), and how many of each every utterance has (``num_samples`` and
``num_tokens``, int32).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from finishline.data.pipeline import TrainingBatches, pad_batch
from finishline.data.sources import BatchIterator


class UtteranceSource:
    """A ``finishline.data.sources.BatchingSource``; ``dataset`` has the fields.

    Training fills all batches up to one length, because JAX compiles a step for each. Evaluation
    sorts utterances by length instead, into a few lengths; models heed no padding, so what they
    make of an utterance does not depend on that.
    """

    def __init__(
        self,
        shards: Sequence[Mapping[str, np.ndarray]],
        evaluation_lengths: Sequence[int],
        max_tokens: int,
    ):
        """Keeps ``shards`` without a copy; for the rest see ``dataset.LibriSpeech``."""
        self.shards = shards
        self._lengths = np.array(evaluation_lengths)
        self._max_tokens = max_tokens
        self.num_samples = np.concatenate([shard["num_samples"] for shard in shards])
        self._num_tokens = np.concatenate([shard["num_tokens"] for shard in shards])
        self._firsts = np.cumsum([0, *(len(shard["num_samples"]) for shard in shards)])
        # Where each utterance begins in its shard.
        self._samples_at = np.concatenate([_starts(shard["num_samples"]) for shard in shards])
        self._tokens_at = np.concatenate([_starts(shard["num_tokens"]) for shard in shards])

    def __len__(self) -> int:
        return len(self.num_samples)

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The examples at ``indices``, filled up to the length of the longest there is."""
        return self._gather(indices, int(self._lengths[-1]))

    def training_batches(self, **arguments: Any) -> BatchIterator:
        """Batches of one length; see ``TrainingBatches`` for the arguments."""
        return TrainingBatches(self, **arguments)

    def evaluation_batches(
        self, indices: np.ndarray, batch_size: int
    ) -> Iterator[dict[str, np.ndarray]]:
        """Each of the examples at ``indices`` once, short ones first; batches have one size."""
        groups = np.searchsorted(self._lengths, self.num_samples[indices])
        for group in np.unique(groups):
            members = indices[groups == group]
            for start in range(0, len(members), batch_size):
                batch = self._gather(members[start : start + batch_size], int(self._lengths[group]))
                yield pad_batch(batch, batch_size)

    def _gather(self, indices: np.ndarray, length: int) -> dict[str, np.ndarray]:
        inputs = np.zeros((len(indices), length), np.int16)
        targets = np.zeros((len(indices), self._max_tokens), np.int32)
        owners = np.searchsorted(self._firsts, indices, side="right") - 1
        for row, (index, owner) in enumerate(zip(indices.tolist(), owners.tolist(), strict=True)):
            shard, first, count = self.shards[owner], self._samples_at[index], self._num_tokens
            samples = shard["samples"][first : first + self.num_samples[index]]
            inputs[row, : len(samples)] = samples
            first = self._tokens_at[index]
            targets[row, : count[index]] = shard["tokens"][first : first + count[index]]
        lengths = self.num_samples[indices].astype(np.int32)
        return {"inputs": inputs, "input_lengths": lengths, "targets": targets}


def _starts(counts: np.ndarray) -> np.ndarray:
    """Where each part begins, of parts that lie one after the other."""
    return np.cumsum(counts, dtype=np.int64) - counts
