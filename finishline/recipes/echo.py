"""Using a batch more than once."""

from collections.abc import Iterator
from typing import Any


class Echo:
    """The batch at hand.

    Attributes:
      factor: steps that each batch is for.
    """

    def __init__(self, factor: int):
        self.factor = factor
        self._batch: Any = None
        self._uses_left = 0

    def take(self, input_queue: Iterator[Any]) -> Any:
        """The batch for one step."""
        if not self._uses_left:
            self._batch, self._uses_left = next(input_queue), self.factor
        self._uses_left -= 1
        return self._batch

    def end(self) -> None:
        """Makes the next step take a new batch."""
        self._uses_left = 0
