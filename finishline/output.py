"""The worker's output: copied to a file, and bounded."""

import contextlib
import threading
from collections.abc import Iterable
from pathlib import Path

MAX_OUTPUT_BYTES = 16 * 1024 * 1024


class OutputFile:
    """Copies what the worker prints to a file in the background, up to 16 MiB.

    Args:
      blocks: the output; ends when all processes that could write have ended.
      path: the file; appended to.

    Attributes:
      is_flooded: whether the worker has written more than the limit; the rest is thrown away.
    """

    def __init__(self, blocks: Iterable[bytes], path: Path):
        self._blocks = blocks
        self._path = path
        self.is_flooded = False
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        written = 0
        with open(self._path, "ab", buffering=0) as file:
            for block in self._blocks:
                if written < MAX_OUTPUT_BYTES:
                    with contextlib.suppress(OSError):  # on a full disk the worker must not wait
                        file.write(block)
                written += len(block)
                self.is_flooded = written > MAX_OUTPUT_BYTES

    def tail(self, max_bytes: int = 2000) -> str:
        """The end of what the worker has written."""
        self._thread.join(0.5)
        text = self._path.read_bytes()[-max_bytes:] if self._path.exists() else b""
        return text.decode(errors="replace").strip()

    def close(self) -> None:
        """Waits for the last output; the processes that could write have ended."""
        self._thread.join(5)
