"""A data set in the prepared layout: made once, kept in one folder a split, read by index."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from finishline.data import sources
from finishline.errors import UserError

Splits = Mapping[str, Mapping[str, np.ndarray]]  # split -> field -> array


@dataclasses.dataclass(eq=False)
class PreparedDataset:
    """A ``finishline.workload.Dataset`` whose splits are ``<data_dir>/<name>/<split>/``.

    Attributes:
      name: name of the data set and of its folder.
      make: makes the arrays of all splits, given the data directory. Raises ``UserError`` if it
        needs files that are not there.
    """

    name: str
    make: Callable[[Path], Splits]

    def folder(self, data_dir: Path, split: str) -> Path:
        """The folder that holds ``split`` and nothing else."""
        return Path(data_dir) / self.name / split

    def prepare(self, data_dir: Path) -> None:
        """Makes the splits that are missing or damaged; leaves the others as they are.

        Raises:
          UserError: the data must be obtained by hand; the message says how.
        """
        splits = ("train", "validation", "test")
        missing = {split for split in splits if not _is_sound(self.folder(data_dir, split))}
        if not missing:
            return
        for split, arrays in self.make(Path(data_dir)).items():
            if split in missing:
                sources.write_split(self.folder(data_dir, split), arrays)

    def open(self, data_dir: Path, split: str) -> sources.Source:
        """Opens one split.

        Raises:
          UserError: the files are missing or damaged; the message names them.
        """
        return sources.read_split(self.folder(data_dir, split))


def _is_sound(folder: Path) -> bool:
    try:
        sources.read_split(folder)
    except UserError:
        return False
    return True
