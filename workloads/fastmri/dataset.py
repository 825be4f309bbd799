"""The data set of fastMRI: slices of knees, scanned with one coil, four times as fast as usual.

Fields of an example, all float32: ``inputs``, the image of the columns of k-space that were kept,
and ``targets``, the image of all of them, both (size, size), normalised by the mean and the
standard deviation of the input, which are ``mean`` and ``std``, and cut at 6 standard deviations;
``volume_max``, the largest value of the scan, 0 if unknown.

Source: Zbontar et al., 2018, "fastMRI: An open dataset and benchmarks for accelerated MRI",
arXiv:1811.08839.
"""

import dataclasses
import tempfile
from pathlib import Path

from finishline.data.prepared import SPLITS, Field, StoredDataset
from finishline.data.records import RecordSource


@dataclasses.dataclass(eq=False, kw_only=True)
class FastMRI(StoredDataset):
    """Slices in the prepared layout, made from the archives that fastMRI distributes.

    Attributes:
      size: height and width of the images, in pixels.
    """

    size: int

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged; see ``Dataset.prepare``."""
        from workloads.fastmri import originals

        missing = self.missing_splits(data_dir)
        if missing:
            folders = {split: self.folder(data_dir, split) for split in SPLITS}
            given = Path(data_dir) / self.name if source is None else source
            originals.prepare(folders, given, missing, self.size, num_workers)

    def open(
        self, data_dir: Path, split: str, quirks: frozenset[str] = frozenset()
    ) -> RecordSource:
        """Opens one split; see ``Dataset.open``. The quirk is ``frozen_masks``."""
        from workloads.fastmri.records import SliceSource

        is_frozen = "frozen_masks" in quirks
        return SliceSource(self.folder(data_dir, split), self.size, frozen_masks=is_frozen)


@dataclasses.dataclass(eq=False, kw_only=True)
class Phantoms(FastMRI):
    """Made-up scans in the same layout; see ``workloads.fastmri.phantoms``."""

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes up the original archives and prepares them; see ``Dataset.prepare``."""
        from workloads.fastmri import phantoms

        del source
        if not self.is_prepared(data_dir):
            with tempfile.TemporaryDirectory() as originals:
                phantoms.write_mini(Path(originals), self.size)
                super().prepare(data_dir, Path(originals), num_workers)


def fields(size: int) -> dict[str, Field]:
    """The fields of an example; see the module."""
    image, number = Field((size, size), "float32"), Field((), "float32")
    return {
        "inputs": image,
        "targets": image,
        "mean": number,
        "std": number,
        "volume_max": number,
    }
