"""From documents to the tokens of a split.

Which split a document belongs to is decided by a hash of its text, so that copies of a document
never lie in two splits, and the splits are the same whether text or tokens are read.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from finishline.data.preparation import ShardContent
from finishline.errors import UserError
from workloads.finewebedu_lm.originals import HOW_TO_OBTAIN, Piece

END_OF_TEXT = "<|endoftext|>"


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Where the tokenizer is, and how many tokens it must have.

    Attributes:
      path: a ``tokenizer.json``.
      size: number of tokens, with ``END_OF_TEXT``; at most 2^16, for they are stored in 16 bits.
    """

    path: Path
    size: int

    def load(self) -> Any:
        """The ``tokenizers.Tokenizer``.

        Raises:
          UserError: the file is damaged or has another vocabulary; the message says so.
        """
        import tokenizers

        remedy = f"replace it. {HOW_TO_OBTAIN.format(folder=self.path.parent)}."
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(self.path))
        except Exception as error:  # the library raises no class of its own
            raise UserError(f"{self.path} is no tokenizer ({error}); {remedy}") from error
        found = tokenizer.get_vocab_size()
        if found != self.size or tokenizer.token_to_id(END_OF_TEXT) is None:
            raise UserError(
                f"{self.path} has {found:,} tokens instead of {self.size:,} with {END_OF_TEXT}; "
                f"{remedy}"
            )
        return tokenizer


def split_of(text: str, shares: Mapping[str, float]) -> str | None:
    """The split of a document; None if it belongs to none.

    Args:
      text: the document.
      shares: of all documents, by split; at most 1 in all. The order of the entries matters.
    """
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    for split, share in shares.items():
        if place < share:
            return split
        place -= share
    return None


def make_shard(
    piece: Piece, split: str, shares: Mapping[str, float], vocabulary: Vocabulary
) -> ShardContent:
    """The tokens of the documents of ``piece`` that belong to ``split``, one after the other.

    The field is ``tokens``, uint16, (tokens,), and ``END_OF_TEXT`` ends each document.

    Raises:
      UserError: the file or the tokenizer is damaged, or they do not belong together.
    """
    tokenizer = vocabulary.load()
    end = tokenizer.token_to_id(END_OF_TEXT)
    parts = [np.empty(0, np.uint16)]
    for document in piece.documents():
        if isinstance(document, str):
            text = document
        else:
            document = document[:-1] if document[-1:] == [end] else document
            _check_tokens(document, piece.path, vocabulary)
            text = tokenizer.decode(document, skip_special_tokens=False)
        if split_of(text, shares) != split:
            continue
        if isinstance(document, str):
            document = tokenizer.encode(document, add_special_tokens=False).ids
        parts.append(np.array([*document, end], np.uint16))
    return ShardContent({"tokens": np.concatenate(parts)})


def _check_tokens(tokens: Sequence[int], path: Path, vocabulary: Vocabulary) -> None:
    largest = max(tokens, default=0)
    if largest >= vocabulary.size:
        raise UserError(
            f"{path} has the token {largest:,}, and {vocabulary.path} ends at "
            f"{vocabulary.size - 1:,}: they do not belong together; replace one of them."
        )
