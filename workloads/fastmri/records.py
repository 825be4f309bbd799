"""Prepared slices: how one is stored, and how one becomes an example.

A shard is one scan, a record one slice, in little-endian order: the width of k-space (int32), the
largest value of the scan (float32), ``kspace.half_transformed`` (complex64, (width, size)) and the
true image (float32, (size, size)).

In AlgoPerf's implementation a training slice has the same mask in every epoch, because masks depend
on an example's place in a cache. fastMRI's own recipe is a new mask each time, and so it is here
unless the quirk ``frozen_masks`` is on.
"""

import functools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from finishline.data.preparation import ShardContent
from finishline.data.records import Example, RecordSource
from finishline.data.splits import RECORDS, Split
from workloads.fastmri import kspace
from workloads.fastmri.volumes import Volume

FORMAT = 1
SUFFIX = f".records{RECORDS}"

_HEADER = struct.Struct("<if")
_OPEN_FILES = 256  # of about 1,000: a process may often open no more than that at once


class Slice(NamedTuple):
    """One slice.

    Attributes:
      columns: see ``kspace.half_transformed``: complex64, (width, size).
      target: the true image: float32, (size, size).
      volume_max: the largest value in the images of its scan, or 0.
    """

    columns: np.ndarray
    target: np.ndarray
    volume_max: float


def shard_of(volume: Volume) -> ShardContent:
    """The slices of one scan, as records."""
    return ShardContent({}, _packed(volume))


def _packed(volume: Volume) -> Iterator[bytes]:
    size = volume.targets.shape[-1]
    for measured, target in zip(volume.kspace, volume.targets, strict=True):
        columns = kspace.half_transformed(measured, size)
        header = _HEADER.pack(len(columns), volume.maximum)
        yield header + columns.astype("<c8").tobytes() + target.astype("<f4").tobytes()


def unpacked(record: bytes, size: int) -> Slice:
    """The slice in a record; its arrays are views."""
    width, volume_max = _HEADER.unpack_from(record)
    count = width * size
    columns = np.frombuffer(record, "<c8", count, offset=_HEADER.size).reshape(width, size)
    target = np.frombuffer(record, "<f4", offset=_HEADER.size + columns.nbytes)
    return Slice(columns, target.reshape(size, size), volume_max)


def copied_shard(path: Path, length: int) -> ShardContent:
    """The shard in ``path``, which has ``length`` records, for another split."""
    reader = _open_reader(str(path))
    return ShardContent({}, (reader.read([i])[0] for i in range(length)))


class SliceSource(RecordSource):
    """The slices of one split; see ``workloads.fastmri.dataset`` for the fields."""

    def __init__(self, folder: Path, size: int, *, frozen_masks: bool = False):
        """Opens a prepared split.

        Args:
          folder: the split.
          size: height and width of the images, in pixels.
          frozen_masks: whether a training slice has the same mask in every epoch.

        Raises:
          UserError: a file is missing or damaged; the message names it.
        """
        split = Split(folder)
        self._size = size
        self._paths = [str(path) for path in split.record_files]
        self._starts = np.cumsum([0, *split.lengths])
        # It serves several threads at once. Readers that it forgets close themselves.
        self._reader = functools.lru_cache(maxsize=_OPEN_FILES)(_open_reader)
        self.frozen_augmentation = frozen_masks

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> Slice:
        """The slice at ``index``; scans come in the order of their names."""
        scan = int(np.searchsorted(self._starts, index, side="right")) - 1
        (record,) = self._reader(self._paths[scan]).read([index - int(self._starts[scan])])
        return unpacked(record, self._size)

    def preprocess(self, record: Slice) -> Example:
        """The example with the mask that all evaluations have."""
        return self._example(record, kspace.evaluation_columns(len(record.columns)))

    def augment(self, record: Slice, rng: np.random.Generator) -> Example:
        """The example with a random mask."""
        return self._example(record, kspace.random_columns(len(record.columns), rng))

    def _example(self, record: Slice, kept: np.ndarray) -> Example:
        picture = kspace.image(record.columns, kept, self._size)
        inputs, targets, mean, std = kspace.normalized(picture, record.target)
        return {
            "inputs": inputs,
            "targets": targets,
            "mean": np.asarray(mean, np.float32),
            "std": np.asarray(std, np.float32),
            "volume_max": np.asarray(record.volume_max, np.float32),
        }


def _open_reader(path: str) -> Any:
    from array_record.python import array_record_module

    return array_record_module.ArrayRecordReader(path)
