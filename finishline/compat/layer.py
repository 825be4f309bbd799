"""The compatibility layer in the worker: set up off the clock, at work from the start on."""

import sys
import traceback
import types
from pathlib import Path
from typing import Any

from finishline.compat import jax_names, no_tensorflow
from finishline.compat.check import check_libraries
from finishline.compat.imports import ApiFinder, OwnFilesFinder
from finishline.compat.plan import (
    API_PACKAGES,
    CUDA,
    DROPOUT,
    DROPOUT_NAME,
    PMAP_LAYOUT,
    TENSORFLOW,
)
from finishline.compat.tree import SourceTree
from finishline.errors import SubmissionError, UserError
from finishline.submission import load_submission

_MISSING = (ImportError, AttributeError, NameError, SyntaxError)


class Layer:
    """What the worker needs of the layer for one submission.

    Args:
      path: the submission's file, which is read here and not run.
      shims: the plan's; None switches the layer off.
    """

    def __init__(self, path: str, shims: list[str] | None):
        self._path = Path(path)
        self._shims = frozenset(shims or ())
        self._is_on = shims is not None
        self._tree: SourceTree | None = None
        try:
            self._tree = SourceTree(self._path)
        except UserError as error:
            self._fault = str(error)

    @property
    def runtime_module(self) -> str | None:
        """The module with the runtime for the submission's layout of arrays; None is the usual."""
        return "finishline.compat.pmap" if PMAP_LAYOUT in self._shims else None

    def set_dropout(self, workload: Any, hyperparameters: Any) -> None:
        """Makes the hyperparameter the default of ``model_fn``, as it was before version 0.6."""
        if DROPOUT in self._shims:
            workload.set_default_dropout_rate(getattr(hyperparameters, DROPOUT_NAME))

    def load(self) -> types.ModuleType:
        """Supplies the shims and loads the submission.

        Raises:
          SubmissionError: something that it needs is missing; the message has file and line.
        """
        if self._tree is None:
            raise SubmissionError(self._fault)
        if self._is_on:
            self._supply(self._tree)
        try:
            module = load_submission(self._path)
        except _MISSING as error:
            if isinstance(error, SyntaxError):
                place = f"{error.filename}:{error.lineno}"
            else:
                place = _place(error, self._path)
            raise SubmissionError(
                f"{place} cannot be loaded ({type(error).__name__}: {error}); install what is "
                "missing, or change the import."
            ) from error
        check_libraries(self._tree)
        return module

    def _supply(self, tree: SourceTree) -> None:
        sys.meta_path.insert(0, ApiFinder(API_PACKAGES))
        sys.meta_path.insert(0, OwnFilesFinder(tree.folder, tree.mounted))
        jax_names.supply(self._shims)
        if TENSORFLOW in self._shims:
            no_tensorflow.supply()
        if CUDA in self._shims:
            from finishline.compat.cuda import map_to_cpu

            map_to_cpu()


def _place(error: BaseException, path: Path) -> str:
    """File and line of the submission's last frame in the traceback of ``error``."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(path.parent)
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(path)
