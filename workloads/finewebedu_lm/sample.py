"""Made-up files in FineWeb-Edu's original format, for tests and benchmarks."""

import itertools
import random
from pathlib import Path

from workloads.finewebedu_lm import grammar, made_up
from workloads.finewebedu_lm.originals import TOKENIZER
from workloads.finewebedu_lm.tokens import split_of
from workloads.finewebedu_lm.workload import DATASET


def write_originals(data_dir: Path, *, num_train: int = 16, num_test: int = 8) -> None:
    """Writes a Parquet file and a tokenizer to ``<data_dir>/finewebedu/``.

    Args:
      data_dir: where the data sets lie.
      num_train: training windows; FineWeb-Edu's have 8,749,870.
      num_test: test windows, and as many of validation.
    """
    folder = data_dir / "finewebedu"
    generator = random.Random(0)
    counts = {"train": num_train, "validation": num_test, "test": num_test}
    texts = [_window(split, generator) for split, count in counts.items() for _ in range(count)]
    generator.shuffle(texts)
    made_up.write_documents(folder / "sample" / "10BT" / "000_00000.parquet", texts)
    made_up.write_tokenizer(folder / TOKENIZER, DATASET.vocab_size)


def _window(split: str, generator: random.Random) -> str:
    """A document of ``split`` that fills at least a window: a token has two bytes at most."""
    text = ""
    while len(text) < 2 * (DATASET.length + 1):
        text += grammar.document(generator)
    numbered = (f"{text}{number}" for number in itertools.count())
    return next(one for one in numbered if split_of(one, DATASET.shares) == split)
