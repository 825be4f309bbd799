"""Subword vocabularies of text: training and use of SentencePiece's unigram models.

Source: Kudo, 2018, "Subword regularization", arXiv:1804.10959, section 3.2.
"""

import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from finishline.data.prepared import SPLITS, StoredDataset
from finishline.errors import UserError
from finishline.records import write_atomically
from finishline.workload import WorkloadDefinition

# How many parts the sums of the training are cut into; with another number they round otherwise.
_NUM_THREADS = 16


class SpecialIds(NamedTuple):
    """Ids of the pieces that stand for no text, by default SentencePiece's own; -1 is for none."""

    pad: int = -1
    unknown: int = 0
    begin: int = 1
    end: int = 2


LIBRARY_IDS = SpecialIds()


def train(
    sentences: Iterable[str],
    path: Path,
    *,
    vocab_size: int,
    special_ids: SpecialIds = LIBRARY_IDS,
    character_coverage: float = 1.0,
) -> None:
    """Trains a vocabulary and writes it to ``path``; the same sentences give the same file.

    Args:
      sentences: the text to learn from, in pieces of at most about 4,000 bytes.
      path: the model file to write; it is there in full or not at all.
      vocab_size: number of pieces with the special ones; fewer if the text does not have as many.
      special_ids: the ids of the special pieces.
      character_coverage: share of the text's characters that get pieces; the rarest get none.

    Raises:
      UserError: the text does not suffice for any vocabulary.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="unigram",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            character_coverage=character_coverage,
            pad_id=special_ids.pad,
            unk_id=special_ids.unknown,
            bos_id=special_ids.begin,
            eos_id=special_ids.end,
            num_threads=_NUM_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise UserError(
            f"No vocabulary of {vocab_size:,} pieces can be made for {path} from the text that is "
            f"there ({str(error).strip()}); check the original files."
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, model.getvalue())


class Subwords:
    """A trained vocabulary: text to ids and back. It can be pickled.

    Attributes:
      size: number of pieces, the special ones among them.
    """

    def __init__(self, path: Path):
        """Reads the model file that ``train`` wrote.

        Raises:
          UserError: the file is missing or damaged.
        """
        import sentencepiece

        try:
            model = path.read_bytes()
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except FileNotFoundError as error:
            raise UserError(
                f"There is no vocabulary {path}; prepare the data set anew with "
                "`python -m workloads.prepare`."
            ) from error
        except RuntimeError as error:
            raise UserError(
                f"{path} is no vocabulary of SentencePiece; delete it and prepare the data set "
                "anew with `python -m workloads.prepare`."
            ) from error
        self.size: int = self._processor.get_piece_size()

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``, without any for its beginning or end."""
        return self._processor.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids``; special pieces give none, but the unknown one gives a mark.

        Raises:
          IndexError: an id is not below ``size``.
        """
        return self._processor.decode(list(ids))


@dataclasses.dataclass(eq=False, kw_only=True)
class SubwordDataset(StoredDataset):
    """A data set whose text is ids of a vocabulary that lies beside its splits.

    Attributes:
      vocab_size: pieces of the vocabulary; fewer if the text does not have as many.
    """

    vocab_size: int

    def vocabulary(self, data_dir: Path) -> Path:
        """The vocabulary's file; what scores text needs it, and training does not."""
        return Path(data_dir) / self.name / "vocabulary.model"

    def missing_splits(self, data_dir: Path) -> list[str]:
        """The splits that are missing or damaged: all, where the vocabulary is missing."""
        if not self.vocabulary(data_dir).is_file():
            return list(SPLITS)
        return super().missing_splits(data_dir)


def subwords_of(definition: WorkloadDefinition, data_dir: Path) -> Subwords:
    """The vocabulary of a workload on a ``SubwordDataset``.

    Raises:
      UserError: it is missing or damaged.
    """
    return Subwords(cast(SubwordDataset, definition.dataset).vocabulary(data_dir))
