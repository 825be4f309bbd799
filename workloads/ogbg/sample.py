"""Made-up molecules in OGB's archive, for tests and benchmarks."""

from pathlib import Path

from workloads.ogbg import molecules
from workloads.ogbg.workload import NUM_TASKS


def write_originals(data_dir: Path, *, num_train: int = 200, num_test: int = 40) -> None:
    """Writes ``<data_dir>/ogbg/pcba.zip``; see ``molecules``.

    Args:
      data_dir: where the data sets lie.
      num_train: training molecules; ogbg-molpcba has 350,343.
      num_test: test molecules, and as many of validation; ogbg-molpcba has 43,793.
    """
    counts = {"train": num_train, "validation": num_test, "test": num_test}
    molecules.write_originals(data_dir / "ogbg", counts, NUM_TASKS)
