"""WMT's German-English text as a data set: preparation and opening.

As in AlgoPerf, training is on WMT 17's text (Europarl 7, Common Crawl, News Commentary 12 and
Rapid 2016), validation on newstest 2013 and test on newstest 2014, and one vocabulary of pieces is
made of both languages. The text that it is made of are pairs at equal distances all over the
training text, about ten million characters; AlgoPerf takes the first of a shuffled copy.

Text is cut into pieces at preparation, so that training needs no SentencePiece. On disk a shard has
the tokens of each side, one sentence after the other, and where each ends.
"""

import dataclasses
import functools
import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from finishline.data.preparation import ShardContent
from finishline.data.prepared import SPLITS
from finishline.data.splits import Split
from finishline.data.streaming import StreamShard, StreamTask, prepare_streams
from finishline.digests import sha256_of
from finishline.errors import UserError
from workloads import subwords
from workloads.wmt import originals
from workloads.wmt.packing import SIDES, PairSource
from workloads.wmt.shape import BEGIN_ID, END_ID, PAD_ID, UNKNOWN_ID

_SPECIAL_IDS = subwords.SpecialIds(PAD_ID, UNKNOWN_ID, BEGIN_ID, END_ID)
_SHARD_PAIRS = 2**19
# Prepared bytes by byte of text: two a token of about four characters, and 16 a pair.
_PREPARED_SHARE = 0.6


@dataclasses.dataclass(eq=False, kw_only=True)
class TranslationDataset(subwords.SubwordDataset):
    """Pairs of sentences as tokens.

    Attributes:
      vocab_text: about how many characters of text the vocabulary is made of.
      max_length: tokens of a row, on either side.
    """

    max_length: int
    vocab_text: int = 10_000_000

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged; see ``Dataset.prepare``.

        Archives are unpacked first, beside the splits; what was unpacked is deleted in the end.
        """
        missing = self.missing_splits(data_dir)
        if not missing:
            return
        folder = Path(data_dir) / self.name
        scratch = folder / ".originals"
        folder.mkdir(parents=True, exist_ok=True)
        texts = originals.unpacked(folder if source is None else source, missing, scratch)
        if not self.vocabulary(data_dir).is_file():
            for split in SPLITS:
                shutil.rmtree(self.folder(data_dir, split), ignore_errors=True)
            self._make_vocabulary(texts["train"], self.vocabulary(data_dir))
        for split in missing:
            self._prepare_split(data_dir, split, texts[split], num_workers)
        shutil.rmtree(scratch, ignore_errors=True)

    def _make_vocabulary(self, texts: Sequence[originals.Text], path: Path) -> None:
        stride = max(1, sum(text.num_bytes for text in texts) // self.vocab_text)
        pairs = itertools.chain.from_iterable(map(originals.pairs, texts))
        sentences = itertools.chain.from_iterable(itertools.islice(pairs, 0, None, stride))
        subwords.train(sentences, path, vocab_size=self.vocab_size, special_ids=_SPECIAL_IDS)

    def _prepare_split(
        self, data_dir: Path, split: str, texts: Sequence[originals.Text], num_workers: int
    ) -> None:
        vocabulary = self.vocabulary(data_dir)
        tasks = [
            StreamTask(
                f"{number:02d}_{text.name}",
                text.num_bytes,
                functools.partial(_shards, text, vocabulary),
            )
            for number, text in enumerate(texts)
        ]
        prepare_streams(
            self.folder(data_dir, split),
            tasks,
            identity={
                "vocabulary": sha256_of(vocabulary),
                "files": {path.name: path.stat().st_size for t in texts for path in t.paths},
            },
            disk_bytes=int(_PREPARED_SHARE * sum(text.num_bytes for text in texts)),
            num_workers=num_workers,
        )

    def open(self, data_dir: Path, split: str, quirks: frozenset[str] = frozenset()) -> PairSource:
        """Opens one split; see ``Dataset.open``."""
        del quirks
        return PairSource(Split(self.folder(data_dir, split)).arrays(), self.max_length)


@dataclasses.dataclass(eq=False, kw_only=True)
class InventedDataset(TranslationDataset):
    """Pairs of two made-up languages, prepared in the same way; see ``workloads.wmt.language``."""

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes up the original archives and prepares them; see ``Dataset.prepare``."""
        from workloads.wmt import language

        del source
        if self.is_prepared(data_dir):
            return
        with tempfile.TemporaryDirectory() as folder:
            language.write_originals(Path(folder), self.num_examples)
            super().prepare(data_dir, Path(folder), num_workers)


def _shards(text: originals.Text, vocabulary: Path, start: int) -> Iterator[StreamShard]:
    """The shards of a corpus from the one numbered ``start`` on."""
    pieces = subwords.Subwords(vocabulary)
    pairs = itertools.islice(originals.pairs(text), start * _SHARD_PAIRS, None)
    chunk = list(itertools.islice(pairs, _SHARD_PAIRS))
    if not chunk:
        raise UserError(f"{text.paths[0]} has no sentences; replace it by the original file.")
    while True:
        following = list(itertools.islice(pairs, _SHARD_PAIRS))
        read = sum(len(sentence.encode()) + 1 for pair in chunk for sentence in pair)
        yield StreamShard(_shard(chunk, pieces), read, not following)
        if not following:
            return
        chunk = following


def _shard(pairs: Sequence[originals.Pair], pieces: subwords.Subwords) -> ShardContent:
    ends, parts = {}, {}
    for side, sentences in zip(SIDES, zip(*pairs, strict=True), strict=True):
        tokens = [[*pieces.encode(sentence), END_ID] for sentence in sentences]
        ends[f"{side}_ends"] = np.cumsum([len(ids) for ids in tokens])
        parts[side] = np.fromiter(itertools.chain.from_iterable(tokens), np.uint16)
    return ShardContent(ends, parts=parts)
