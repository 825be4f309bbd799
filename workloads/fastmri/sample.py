"""Made-up files in fastMRI's original format and size, for tests and benchmarks."""

from pathlib import Path

from workloads.fastmri import phantoms
from workloads.fastmri.workload import SIZE

_SLICES_PER_SCAN = 2  # fastMRI has about 36


def write_originals(data_dir: Path, *, num_train: int = 8, num_test: int = 4) -> None:
    """Writes two archives to ``<data_dir>/fastmri/`` with made-up scans.

    Args:
      data_dir: where the data sets lie.
      num_train: training slices; fastMRI has 34,742.
      num_test: test slices, and as many of validation; fastMRI has 3,581.
    """
    counts = {"train": _scans(num_train), "val": 2 * _scans(num_test)}
    for part, num_slices in counts.items():
        path = data_dir / "fastmri" / f"knee_singlecoil_{part}.tar.gz"
        phantoms.write_archive(path, part, num_slices, SIZE)


def _scans(num_slices: int) -> list[int]:
    """The numbers of slices of scans that have ``num_slices`` in all."""
    full, rest = divmod(num_slices, _SLICES_PER_SCAN)
    return [_SLICES_PER_SCAN] * full + [rest] * (rest > 0)
