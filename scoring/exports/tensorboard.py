"""TensorBoard's event files, with tensorboardX, which needs neither TensorFlow nor TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scoring.exports.recordings import Recording

# One name for good: exporting again replaces the file instead of adding a second.
FILE = "events.out.tfevents.0.finishline"


class TensorBoardExporter:
    """Writes an event file a trial.

    The wall time of an event is the start of the trial plus its submission time, so that the axis
    "Relative" shows what the competition is about. Scalars that the submission logged have no time
    of their own; theirs is interpolated between the evaluations, by step.

    Args:
      output_dir: the folder to start TensorBoard with.
    """

    def __init__(self, output_dir: Path):
        import tensorboardX.proto.event_pb2
        import tensorboardX.record_writer
        import tensorboardX.summary

        self._output_dir = output_dir
        self._tensorboard = tensorboardX

    def export(self, recording: Recording, place: Path) -> None:
        """Writes the file of a trial; ``place`` is its folder below ``output_dir``."""
        folder = self._output_dir / place
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{FILE}.tmp"
        writer = self._tensorboard.record_writer.RecordWriter(str(temporary))
        try:
            for event in self._events(recording):
                writer.write(event.SerializeToString())
        finally:
            writer.close()
        temporary.replace(folder / FILE)

    def close(self, *, is_complete: bool) -> None:
        """Nothing is left to do: each file is whole."""

    def _events(self, recording: Recording) -> Any:
        event, summary = self._tensorboard.proto.event_pb2.Event, self._tensorboard.summary
        start = recording.start
        yield event(wall_time=start, file_version="brain.Event:2")
        metrics = {one.name: one.value for one in recording.measurements}
        for content in summary.hparams(_hyperparameters(recording.config), metrics):
            yield event(wall_time=start, summary=content)
        times = _times(recording)
        for one, seconds in zip(recording.measurements, times, strict=True):
            value = summary.Summary.Value(tag=one.name, simple_value=one.value)
            yield event(
                wall_time=start + seconds, step=one.step, summary=summary.Summary(value=[value])
            )


def _hyperparameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """What TensorBoard's table of hyperparameters shows."""
    names = ("submission", "workload", "framework", "study", "trial", "status")
    shown = {name: config[name] for name in names if name in config}
    return (config.get("hyperparameters") or {}) | shown


def _times(recording: Recording) -> list[float]:
    """Submission time of each measurement in seconds."""
    known = {one.step: one.seconds for one in recording.measurements if one.seconds is not None}
    known = {0: 0.0} | known
    steps = sorted(known)
    guesses = np.interp(
        [one.step for one in recording.measurements], steps, [known[step] for step in steps]
    )
    return [
        float(guess) if one.seconds is None else one.seconds
        for one, guess in zip(recording.measurements, guesses, strict=True)
    ]
