"""The scalars that a submission wants in the record, on their way through the worker."""

from collections.abc import Iterator
from typing import Any

from finishline.channel import ScalarRows
from finishline.errors import SubmissionError

_MAX_ROWS_BUFFERED = 1000
_MAX_NAME_LENGTH = 200
# With names of that length, even if each character takes 12 bytes in JSON, well below
# channel.MAX_FRAME_BYTES.
_MAX_SCALARS_A_FRAME = 1000


class MetricsLogger:
    """Collects the submission's scalars; they are read when the device is synchronised anyway."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, dict[str, Any]]] = []

    def append_scalar_metrics(self, metrics: Any, global_step: int) -> None:
        """See ``spec.MetricsLogger``."""
        if len(self._rows) < _MAX_ROWS_BUFFERED:
            self._rows.append((int(global_step), dict(metrics)))

    def take(self) -> ScalarRows:
        """All rows since the last call, as plain numbers.

        Raises:
          SubmissionError: a value is no scalar.
        """
        rows, self._rows = self._rows, []
        return [
            (step, {str(name)[:_MAX_NAME_LENGTH]: _number(name, v) for name, v in row.items()})
            for step, row in rows
        ]


def _number(name: Any, value: Any) -> float:
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        shape = getattr(value, "shape", None)
        what = f"{value!r:.60}" if shape is None else f"an array of shape {list(shape)}"
        raise SubmissionError(
            f"workload.metrics_logger was given {what} as {name!r:.60}, which is no scalar; give "
            "it one number a name."
        ) from error


def frames(rows: ScalarRows) -> Iterator[ScalarRows]:
    """The rows in portions that fit into a frame each."""
    portion: ScalarRows = []
    size = 0
    for step, values in rows:
        items = list(values.items())
        while items:
            room = _MAX_SCALARS_A_FRAME - size
            part, items = items[:room], items[room:]
            portion.append((step, dict(part)))
            size += len(part)
            if size == _MAX_SCALARS_A_FRAME:
                yield portion
                portion, size = [], 0
    if portion:
        yield portion
