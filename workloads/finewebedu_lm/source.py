"""Reading prepared tokens by index."""

from collections.abc import Sequence

import numpy as np


class WindowSource:
    """Windows of a split's tokens: contiguous, without overlap, over all documents in a row.

    Window i has the ``length`` + 1 tokens from i (``length`` + 1) on, wherever documents end; its
    ``inputs`` are all but the last and its ``targets`` all but the first, both int32, (length,).
    Tokens after the last whole window are left out.
    """

    def __init__(self, shards: Sequence[np.ndarray], length: int, most: int):
        """Keeps ``shards`` without a copy.

        Args:
          shards: the tokens, one shard after the other, each of any length.
          length: inputs of a window.
          most: how many windows there are at most; those after them are left out.
        """
        # Plain arrays over the memory maps: np.memmap's hooks cost more than a slice.
        self._shards = [np.asarray(shard) for shard in shards]
        self._starts = np.cumsum([0, *map(len, self._shards)])
        self._size = length + 1
        self._length = min(int(self._starts[-1]) // self._size, most)

    def __len__(self) -> int:
        return self._length

    def gather(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The windows ``indices`` (int64, (n,)), as new arrays."""
        places = indices * self._size
        owners = np.searchsorted(self._starts, places, side="right") - 1
        offsets = places - self._starts[owners]
        windows = np.empty((len(indices), self._size), self._shards[0].dtype)
        for window, owner, offset in zip(windows, owners.tolist(), offsets.tolist(), strict=True):
            self._read(window, owner, offset)
        return {
            "inputs": windows[:, :-1].astype(np.int32),
            "targets": windows[:, 1:].astype(np.int32),
        }

    def _read(self, window: np.ndarray, shard: int, offset: int) -> None:
        """Fills ``window`` with the tokens from a place in a shard on, and from the next ones."""
        filled = 0
        while filled < len(window):
            part = self._shards[shard][offset : offset + len(window) - filled]
            window[filled : filled + len(part)] = part
            filled, shard, offset = filled + len(part), shard + 1, 0
