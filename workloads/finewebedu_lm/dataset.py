"""FineWeb-Edu as a data set: tokens of educational web pages, in windows.

Prepared splits hold tokens in shards; their manifests count tokens. What an example is, see
``source.WindowSource``.

AlgoPerf's set-up saves training and validation documents in two passes over a stream that is
shuffled anew in each, so about nine tenths of its validation documents are training documents, too.
Here a hash of the text decides; and AlgoPerf has no test split, which is made here alike.

Source: Penedo et al., 2024, "The FineWeb datasets: Decanting the web for the finest text data at
scale", arXiv:2406.17557.
"""

import dataclasses
import functools
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from finishline.data import splits
from finishline.data.preparation import ShardTask, format_bytes, prepare_split
from finishline.data.prepared import Field, StoredDataset
from finishline.digests import sha256_of
from workloads.finewebedu_lm.originals import TOKENIZER, Piece, cut, find_files
from workloads.finewebedu_lm.source import WindowSource
from workloads.finewebedu_lm.tokens import Vocabulary, make_shard

_BYTES_PER_TOKEN, _ORIGINAL_BYTES_PER_TOKEN = 2, 8  # as prepared, and in the originals


@dataclasses.dataclass(eq=False, kw_only=True)
class FineWebEdu(StoredDataset):
    """Documents as windows of tokens.

    A split has at most ``num_examples`` windows; tokens after them are left out.

    Attributes:
      length: tokens that a window has as inputs.
      vocab_size: number of tokens that the tokenizer must have.
      shares: the share of all documents that belongs to each split.
      characters_per_token: of the text, about; it tells how much the prepared data take.
      documents_per_shard: about so many are read for a shard; a process needs 5 kB for each.
    """

    length: int
    vocab_size: int
    shares: Mapping[str, float]
    characters_per_token: float = 4.6
    documents_per_shard: int = 2**16

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged; see ``Dataset.prepare``.

        Each split is made in a pass of its own: reading takes little of the time that it takes to
        make tokens.
        """
        missing = self.missing_splits(data_dir)
        if not missing:
            return
        originals = Path(data_dir) / self.name if source is None else source
        files = find_files(originals)
        vocabulary = Vocabulary(originals / TOKENIZER, self.vocab_size)
        vocabulary.load()  # before any work
        pieces = [cut(path, self.documents_per_shard) for path in files]
        all_bytes = sum(self._prepared_bytes(piece) for of_file in pieces for piece in of_file)
        needed = {split: int(all_bytes * self.shares[split]) for split in missing}
        print(
            f"{self.name}: about {format_bytes(sum(needed.values()))} will be written to "
            f"{Path(data_dir) / self.name}.",
            file=sys.stderr,
        )
        for split in missing:
            prepare_split(
                self.folder(data_dir, split),
                self._tasks(pieces, split, vocabulary),
                identity={
                    "files": {str(p.relative_to(originals)): p.stat().st_size for p in files},
                    "tokenizer": sha256_of(vocabulary.path),
                    "shares": list(self.shares.items()),
                    "documents_per_shard": self.documents_per_shard,
                },
                disk_bytes=needed[split],
                num_workers=num_workers,
            )

    def _prepared_bytes(self, piece: Piece) -> float:
        """About what all documents of a piece take in the prepared layout."""
        is_text = piece.column == "text"
        size = self.characters_per_token if is_text else _ORIGINAL_BYTES_PER_TOKEN
        return piece.num_bytes / size * _BYTES_PER_TOKEN

    def _tasks(
        self, pieces: Sequence[Sequence[Piece]], split: str, vocabulary: Vocabulary
    ) -> list[ShardTask]:
        return [
            ShardTask(
                f"{file:05d}_{number:05d}",
                piece.num_bytes,
                functools.partial(make_shard, piece, split, self.shares, vocabulary),
            )
            for file, of_file in enumerate(pieces)
            for number, piece in enumerate(of_file)
        ]

    def open(
        self, data_dir: Path, split: str, quirks: frozenset[str] = frozenset()
    ) -> WindowSource:
        """Opens one split; see ``Dataset.open``."""
        del quirks
        shards = splits.Split(self.folder(data_dir, split)).arrays()
        return WindowSource(
            [shard["tokens"] for shard in shards], self.length, self.num_examples[split]
        )


@dataclasses.dataclass(eq=False, kw_only=True)
class MadeUpText(FineWebEdu):
    """Text of ``workloads.finewebedu_lm.grammar``, a token a byte, prepared in the same way."""

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes up the original files and prepares them; see ``Dataset.prepare``."""
        from workloads.finewebedu_lm import made_up

        del source
        if not self.is_prepared(data_dir):
            with tempfile.TemporaryDirectory() as originals:
                made_up.write_mini(Path(originals))
                super().prepare(data_dir, Path(originals), num_workers)


def fields(length: int) -> dict[str, Field]:
    """The fields of an example."""
    return {name: Field((length,), "int32") for name in ("inputs", "targets")}
