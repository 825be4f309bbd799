"""Made-up files in Criteo's original format, for tests and benchmarks."""

from pathlib import Path

from workloads.criteo1tb import mini


def write_originals(data_dir: Path, *, num_train: int = 1_000, num_test: int = 100) -> None:
    """Writes ``day_0.gz`` to ``day_23.gz`` to ``<data_dir>/criteo1tb/``; see ``mini``.

    Args:
      data_dir: where the data sets lie.
      num_train: lines of days 0 to 22 together; Criteo 1TB has 4,195,197,692.
      num_test: lines of day 23, which are test and validation examples; Criteo 1TB has 178,274,637.
    """
    mini.write_originals(data_dir / "criteo1tb", num_train=num_train, num_last=num_test)
