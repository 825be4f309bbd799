"""Runs of Weights & Biases, written offline; ``wandb sync`` uploads them."""

import hashlib
import itertools
import os
import re
from pathlib import Path
from typing import Any

from finishline.errors import UserError
from scoring.exports.recordings import Recording

FOLDER = "wandb"


class WandbExporter:
    """Writes an offline run a trial, without a connection or an account.

    Args:
      output_dir: gets the folder ``wandb``.

    Raises:
      UserError: runs are there already: uploading would mix them.
    """

    def __init__(self, output_dir: Path):
        if any((output_dir / FOLDER).glob("offline-run-*")):
            raise UserError(
                f"{output_dir / FOLDER} holds runs already; delete it or choose another "
                "--output_dir."
            )
        import wandb

        self._wandb = wandb
        self._output_dir = output_dir
        self._settings = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            save_code=False,
            x_disable_stats=True,
            x_disable_meta=True,
        )

    def export(self, recording: Recording, place: Path) -> None:
        """Writes the run of a trial; ``place`` is its folder below the competition's."""
        names, path = recording.run.names, recording.run.path
        competition = recording.run.competition or str(path)
        run: Any = self._wandb.init(
            mode="offline",
            dir=str(self._output_dir),
            project=re.sub(r"[^\w.-]", "_", os.path.basename(competition)),
            group=f"{names.submission} on {names.workload}" if names else None,
            name=path.name if names is None else _name(names),
            # The same at every export, so that a run is not uploaded twice.
            id=hashlib.sha256(os.path.abspath(path).encode()).hexdigest()[:16],
            config=dict(recording.config),
            settings=self._settings,
        )
        by_step = itertools.groupby(recording.measurements, key=lambda one: one.step)
        for step, group in by_step:
            run.log({one.name: one.value for one in group}, step=step)
        run.finish()

    def close(self, *, is_complete: bool) -> None:
        """Nothing is left to do: each run is whole."""


def _name(names: Any) -> str:
    return f"{names.submission} {names.workload} study {names.study} trial {names.trial}"
