"""Exports trials: ``python -m scoring.export DIR --output_dir OUT --format csv``.

Reads run directories and writes elsewhere, so that nothing of it takes place during a run.
"""

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from finishline.errors import BAD_INPUT_EXIT_CODE, Status, UserError
from scoring.exports.recordings import Recording, read_recording
from scoring.exports.tables import TableExporter
from scoring.exports.tensorboard import TensorBoardExporter
from scoring.exports.weights_and_biases import WandbExporter
from scoring.progress import track
from scoring.runs import Run, find_runs

_EXIT_CODE_OF_PROBLEMS = 1


@runtime_checkable
class Exporter(Protocol):
    """Writes trials in one format."""

    def export(self, recording: Recording, place: Path) -> None:
        """Writes one trial; ``place`` is its folder, relative to what is exported."""

    def close(self, *, is_complete: bool) -> None:
        """All trials are written, or an error has come between."""


_FORMATS: dict[str, Callable[[Path], Exporter]] = {
    "csv": TableExporter,
    "tensorboard": TensorBoardExporter,
    "wandb": WandbExporter,
}
_PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


def export_runs(runs: Sequence[Run], root: Path, output_dir: Path, form: str) -> list[str]:
    """Writes trials to ``output_dir``; returns a sentence for each that could not be exported.

    Args:
      runs: the trials.
      root: the folder that they are in.
      output_dir: a folder outside of ``root``; made if it is not there.
      form: 'csv', 'tensorboard' or 'wandb'.

    Raises:
      UserError: a package is missing, or ``output_dir`` cannot be used.
    """
    _check_installed(form)
    _check_outside(root, output_dir)
    problems = []
    is_complete = False
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        exporter = _FORMATS[form](output_dir)
        try:
            for run in track(runs, "trials exported"):
                if problem := _export(exporter, run, run.path.relative_to(root)):
                    problems.append(problem)
            is_complete = True
        finally:
            exporter.close(is_complete=is_complete)
    except OSError as error:
        raise UserError(
            f"{error.filename or output_dir} cannot be written ({error.strerror}); free space "
            "there or choose another --output_dir."
        ) from error
    return problems


def _export(exporter: Exporter, run: Run, place: Path) -> str | None:
    try:
        recording = read_recording(run)
        if not recording.measurements:
            return f"{run.path} has no measurements; nothing of it is exported."
        exporter.export(recording, place)
    except UserError as error:
        return str(error)
    except (ValueError, TypeError) as error:  # a number that the format has no room for
        return f"{run.path} does not fit the format ({error}); see python -m scoring.check_logs."
    return None


def _check_installed(form: str) -> None:
    package = _PACKAGES.get(form)
    if package is not None and importlib.util.find_spec(package) is None:
        raise UserError(
            f"The package {package!r} of --format {form} is not installed; run "
            f"`pip install -c constraints.txt -e '.[{form}]'`."
        )


def _check_outside(root: Path, output_dir: Path) -> None:
    if output_dir.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"The --output_dir {output_dir} lies in {root}, which is only read; choose one outside."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Exports a folder; returns the exit code."""
    flags = _parser().parse_args(arguments)
    try:
        runs = find_runs(flags.directory)
        problems = export_runs(runs, flags.directory, flags.output_dir, flags.format)
    except UserError as error:
        print(f"export: {error}", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE
    except KeyboardInterrupt:
        return Status.INTERRUPTED.exit_code
    for problem in problems:
        print(f"export: {' '.join(problem.split())}", file=sys.stderr)
    done = len(runs) - len(problems)
    print(f"{done:,} of {len(runs):,} trials exported to {flags.output_dir}.")
    if flags.format == "wandb" and done:
        print(f"Upload them with: wandb sync {os.path.join(flags.output_dir, 'wandb', '*run-*')}")
    return _EXIT_CODE_OF_PROBLEMS if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scoring.export",
        description="Writes what trials measured in the format of another tool.",
        epilog="formats:\n"
        "  csv          measurements.csv, one row a measurement\n"
        "  tensorboard  event files; look at them with: tensorboard --logdir OUT\n"
        "  wandb        offline runs of Weights & Biases; upload them with: wandb sync\n\n"
        "exit codes: 0 all is exported, 1 some trials could not be, 2 bad input",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "directory", type=Path, help="folder with trials: a competition, or any part of one"
    )
    parser.add_argument(
        "--output_dir", type=Path, required=True, help="where the files go; not in the directory"
    )
    parser.add_argument("--format", required=True, choices=sorted(_FORMATS), help="see below")
    return parser


if __name__ == "__main__":
    sys.exit(main())
