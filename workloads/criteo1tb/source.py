"""Reading prepared click logs by index."""

import resource
from collections.abc import Mapping, Sequence

import numpy as np

from finishline.errors import UserError
from workloads.criteo1tb.fields import FIELDS

# A mapped file counts as an open one, and a process needs some others.
_OTHER_FILES = 256


class ClickLogSource:
    """Click logs in memory-mapped shards; fields as in ``fields.FIELDS``.

    A row has 157 bytes in three files, the whole training set about 660 GB. Rows read singly would
    cost a page of the disk for each file, and no disk delivers the 300,000 rows a second that an
    accelerator trains on. So ``block_size`` consecutive rows are read together: training and the
    measured part of the training set go through whole blocks. The order of the blocks is
    shuffled over the whole set anew in each epoch, the rows within a block are always neighbours.
    A batch of 262,144 rows is then 512 blocks from all 23 days, where the reference implementation
    reads whole files of 5,000,000 rows one after the other.

    Attributes:
      block_size: see above.
    """

    def __init__(
        self,
        shards: Sequence[Mapping[str, np.ndarray]],
        *,
        block_size: int = 512,
        float32_ids: bool = False,
    ):
        """Keeps ``shards`` without a copy.

        Args:
          shards: ``inputs`` (float32, (n, 13)), ``categories`` (int32, (n, 26)) and ``targets``
            (uint8, (n,)) of each.
          block_size: rows that are read together.
          float32_ids: whether categories are rounded to the nearest float32, as in the published
            benchmark: of those above 2**24 then only every second or fourth is left.
        """
        self.block_size = block_size
        self._float32_ids = float32_ids
        # Plain arrays over the memory maps: np.memmap's hooks cost more than a slice.
        self._shards = [{name: np.asarray(a) for name, a in shard.items()} for shard in shards]
        lengths = [len(shard["targets"]) for shard in self._shards]
        self._starts = np.cumsum([0, *lengths])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The rows ``indices`` (int64, (n,)), as new arrays. Quick where indices are neighbours."""
        batch = {
            name: np.empty((len(indices), *field.shape), field.dtype)
            for name, field in FIELDS.items()
        }
        inputs, categories, targets = (batch[name] for name in FIELDS)
        for first, index, count in self._runs(indices):
            number = int(np.searchsorted(self._starts, index, side="right")) - 1
            shard, row = self._shards[number], index - int(self._starts[number])
            stop = first + count
            inputs[first:stop] = shard["inputs"][row : row + count]
            categories[first:stop] = shard["categories"][row : row + count]
            targets[first:stop, 0] = shard["targets"][row : row + count]
        if self._float32_ids:
            batch["categories"] = categories.astype(np.float32).astype(np.int32)
        return batch

    def _runs(self, indices: np.ndarray) -> list[tuple[int, int, int]]:
        """(Place in ``indices``, index, length) of each run of neighbours within one shard."""
        is_first = np.ones(len(indices), bool)
        is_first[1:] = (np.diff(indices) != 1) | np.isin(indices[1:], self._starts)
        firsts = np.flatnonzero(is_first)
        lengths = np.diff(firsts, append=len(indices))
        return list(zip(firsts.tolist(), indices[firsts].tolist(), lengths.tolist(), strict=True))


def allow_open_files(count: int) -> None:
    """Raises this process's limit on open files so that ``count`` more can be mapped.

    Raises:
      UserError: the system does not allow so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _OTHER_FILES
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if needed > hard != resource.RLIM_INFINITY:
        raise UserError(
            f"The data lie in {count:,} files, and this process may open {hard:,}; raise the limit "
            f"(`ulimit -Hn {needed}`, in Docker --ulimit nofile={needed})."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
