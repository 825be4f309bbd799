"""Made-up files in WMT's original format, for tests and benchmarks."""

from pathlib import Path

from workloads.wmt.language import write_originals as write_archives


def write_originals(data_dir: Path, *, num_train: int = 64, num_test: int = 8) -> None:
    """Writes five archives to ``<data_dir>/wmt/`` with sentences of made-up languages.

    Args:
      data_dir: where the data sets lie.
      num_train: training pairs; WMT has 5,906,184.
      num_test: test pairs, and as many of validation; WMT has 3,003.
    """
    write_archives(data_dir / "wmt", {"train": num_train, "validation": num_test, "test": num_test})
