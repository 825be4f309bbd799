"""Data sets in the prepared layout: kept in one folder a split, read by index."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from finishline.data import sources, splits
from finishline.data.records import RecordSource

SPLITS = ("train", "validation", "test")

Arrays = Mapping[str, np.ndarray]  # by field


class Field(NamedTuple):
    """A field of an example as evaluation sees it: shape without the batch, and dtype."""

    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(eq=False, kw_only=True)
class StoredDataset:
    """What all data sets share: ``finishline.workload.Dataset`` without ``prepare`` and ``open``.

    Attributes:
      name: name of the data set and of its folder, ``<data_dir>/<name>/<split>/``.
      num_examples: examples by split.
      fields: the fields of an example.
      origin: where the originals come from, in one line.
      disk_bytes: about what the prepared splits take on the disk, if known.
    """

    name: str
    num_examples: Mapping[str, int]
    fields: Mapping[str, Field]
    origin: str = ""
    disk_bytes: int | None = None

    def folder(self, data_dir: Path, split: str) -> Path:
        """The folder that holds ``split`` and nothing else."""
        return Path(data_dir) / self.name / split

    def is_prepared(self, data_dir: Path) -> bool:
        """Whether all splits are there and look right."""
        return not self.missing_splits(data_dir)

    def missing_splits(self, data_dir: Path) -> list[str]:
        """The splits that are missing or damaged."""
        return [s for s in SPLITS if not splits.is_sound(self.folder(data_dir, s))]


@dataclasses.dataclass(eq=False, kw_only=True)
class ArrayDataset(StoredDataset):
    """A data set of arrays that fit into memory and are made at once.

    Attributes:
      make: makes the arrays of all splits, given the folder with the originals. Raises
        ``UserError`` if it needs files that are not there.
    """

    make: Callable[[Path], Mapping[str, Arrays]]

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged; see ``Dataset.prepare``."""
        del num_workers
        missing = self.missing_splits(data_dir)
        if not missing:
            return
        originals = Path(data_dir) / self.name if source is None else source
        for split, arrays in self.make(originals).items():
            if split in missing:
                splits.write_split(self.folder(data_dir, split), arrays)

    def open(
        self, data_dir: Path, split: str, quirks: frozenset[str] = frozenset()
    ) -> sources.Source | RecordSource:
        """Opens one split; see ``Dataset.open``."""
        del quirks
        return open_arrays(self.folder(data_dir, split))


def open_arrays(folder: Path) -> sources.ArraySource:
    """Opens a split of arrays; its shards are joined.

    Raises:
      UserError: a file is missing or damaged; the message names it.
    """
    return sources.ArraySource(sources.whole_arrays(splits.Split(folder).arrays()))


def blank_example(fields: Mapping[str, Field], batch_size: int = 1) -> dict[str, np.ndarray]:
    """A batch of zeros with the shapes and dtypes of ``fields``."""
    return {
        name: np.zeros((batch_size, *field.shape), field.dtype) for name, field in fields.items()
    }
