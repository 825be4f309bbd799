"""Files in the format of FineWeb-Edu with made-up documents, and tokenizers in that of GPT-2."""

import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from workloads.finewebedu_lm import grammar
from workloads.finewebedu_lm.originals import TOKENIZER
from workloads.finewebedu_lm.tokens import END_OF_TEXT

_ROWS_PER_GROUP = 1_000  # as in the files of FineWeb-Edu
_MINI_SEED = 20_240_531
_MINI_FILES, _MINI_DOCUMENTS_PER_FILE = 2, 1_500


def write_mini(folder: Path) -> None:
    """Writes the originals of the mini data set: two files, and a tokenizer of single bytes."""
    generator = random.Random(_MINI_SEED)
    write_tokenizer(folder / TOKENIZER, 257)
    for number in range(_MINI_FILES):
        texts = [grammar.document(generator) for _ in range(_MINI_DOCUMENTS_PER_FILE)]
        write_documents(folder / f"{number:03d}_00000.parquet", texts)


def write_documents(path: Path, texts: Sequence[str]) -> None:
    """Writes a Parquet file with the columns of FineWeb-Edu."""
    import pyarrow as pa
    from pyarrow import parquet

    count = len(texts)
    table = pa.table(
        {
            "text": texts,
            "id": [f"<urn:uuid:{number:032x}>" for number in range(count)],
            "dump": ["CC-MAIN-2024-10"] * count,
            "url": [f"https://example.org/{number}" for number in range(count)],
            "file_path": ["s3://example/made-up.warc.gz"] * count,
            "language": ["en"] * count,
            "language_score": [0.99] * count,
            "token_count": [len(text.split()) for text in texts],
            "score": [3.5] * count,
            "int_score": [4] * count,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=_ROWS_PER_GROUP)


def write_tokenizer(path: Path, vocab_size: int) -> None:
    """Writes a tokenizer as GPT-2's: of single bytes and, up to ``vocab_size``, pairs of them.

    The last token is ``END_OF_TEXT``.
    """
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = list(_first(itertools.product(letters, letters), vocab_size - len(letters) - 1))
    tokens = [*letters, *map("".join, pairs)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([END_OF_TEXT])
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))


def _first(pairs: Iterator[tuple[str, str]], count: int) -> Iterator[tuple[str, str]]:
    return itertools.islice(pairs, count)
