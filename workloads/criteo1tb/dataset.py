"""The Criteo 1TB click logs as a data set: preparation and opening."""

import dataclasses
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from finishline.data import splits
from finishline.data.preparation import format_bytes
from finishline.data.prepared import StoredDataset
from finishline.data.streaming import StreamTask, prepare_streams
from workloads.criteo1tb.originals import Extent, find_days, split_after
from workloads.criteo1tb.parsing import read_shards
from workloads.criteo1tb.source import ClickLogSource, allow_open_files

# Prepared bytes by byte of originals: 157 a row, whose text has about 250 bytes.
_SHARE, _SHARE_COMPRESSED = 0.7, 2.2


@dataclasses.dataclass(eq=False, kw_only=True)
class CriteoDataset(StoredDataset):
    """Days 0 to 22 train; the first lines of day 23 test, and the others validate.

    The test split has ``num_examples["test"]`` lines. Where day 23 has no more than these, as in
    files that are made up for tests, it has the same share of them.

    Attributes:
      shard_bytes: text that becomes one shard; a process needs about as much memory.
      block_size: rows that are read together; see ``source.ClickLogSource``.
    """

    shard_bytes: int = 2**30
    block_size: int = 512

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged; see ``Dataset.prepare``.

        Uncompressed days are cut and worked on in parallel; of compressed ones, each is read by
        one process, and after an interruption from its beginning.
        """
        missing = self.missing_splits(data_dir)
        if not missing:
            return
        days = find_days(Path(data_dir) / self.name if source is None else source)
        extents = {"train": [[Extent(path) for path in files] for files in days[:-1]]}
        if set(missing) & {"validation", "test"}:
            test, validation = self._split_last_day(days[-1])
            extents |= {"test": [test], "validation": [validation]}
        tasks = {split: self._tasks(extents[split]) for split in missing}
        disk = {split: _disk_bytes(extents[split]) for split in missing}
        print(
            f"{self.name}: about {format_bytes(sum(disk.values()))} will be written to "
            f"{Path(data_dir) / self.name}.",
            file=sys.stderr,
        )
        for split in missing:
            prepare_streams(
                self.folder(data_dir, split),
                tasks[split],
                identity={
                    "shard_bytes": self.shard_bytes,
                    "extents": [extent.describe() for day in extents[split] for extent in day],
                },
                disk_bytes=disk[split],
                num_workers=num_workers,
            )

    def _split_last_day(self, files: Sequence[Path]) -> tuple[list[Extent], list[Extent]]:
        num_test = self.num_examples["test"]
        test, validation, num_lines = split_after(files, num_test)
        if not validation:
            both = num_test + self.num_examples["validation"]
            test, validation, _ = split_after(files, max(1, num_lines * num_test // both))
        return test, validation

    def _tasks(self, days: Sequence[Sequence[Extent]]) -> list[StreamTask]:
        """One stream for each shard of an uncompressed file, and for each compressed file."""
        tasks = []
        for day, extents in enumerate(days):
            for number, extent in enumerate(e for whole in extents for e in self._cut(whole)):
                make = functools.partial(read_shards, extent, self.shard_bytes)
                key = f"{day:02d}_{number:05d}"
                tasks.append(StreamTask(key, extent.num_bytes, make))
        return tasks

    def _cut(self, extent: Extent) -> list[Extent]:
        if extent.is_compressed:
            return [extent]
        stop = extent.start + extent.num_bytes
        starts = range(extent.start, stop, self.shard_bytes)
        return [Extent(extent.path, s, min(s + self.shard_bytes, stop)) for s in starts]

    def open(
        self, data_dir: Path, split: str, quirks: frozenset[str] = frozenset()
    ) -> ClickLogSource:
        """Opens one split; see ``Dataset.open``. The quirk is ``float32_ids``."""
        opened = splits.Split(self.folder(data_dir, split))
        allow_open_files(3 * len(opened.lengths))
        return ClickLogSource(
            opened.arrays(), block_size=self.block_size, float32_ids="float32_ids" in quirks
        )


def _disk_bytes(days: Sequence[Sequence[Extent]]) -> int:
    extents = [extent for day in days for extent in day]
    return int(
        sum(e.num_bytes * (_SHARE_COMPRESSED if e.is_compressed else _SHARE) for e in extents)
    )
