"""Made-up archives in LibriSpeech's original format, for tests and benchmarks."""

from pathlib import Path

from workloads.librispeech import formants


def write_originals(data_dir: Path, *, num_train: int = 8, num_test: int = 4) -> None:
    """Writes all archives to ``<data_dir>/librispeech/`` with made-up speech.

    Args:
      data_dir: where the data sets lie.
      num_train: training utterances; LibriSpeech has 281,241.
      num_test: test utterances, and as many of validation; LibriSpeech has 2,620.
    """
    counts = {"train": num_train, "validation": num_test, "test": num_test}
    words = (len(formants.WORDS) // 2, len(formants.WORDS))  # about 4 to 8 s
    formants.write_archives(data_dir / "librispeech", counts, num_words=words)
