"""A stand-in for TensorFlow, which ``learned_optimization`` imports to write summaries alone."""

import importlib.util
import sys
from types import ModuleType

_NAMES = ("tensorflow", "tensorflow.compat", "tensorflow.compat.v2")


def supply() -> None:
    """Makes ``import tensorflow.compat.v2`` do nothing, unless there is a real one."""
    if importlib.util.find_spec("tensorflow") is not None:
        return
    modules = [ModuleType(name, __doc__) for name in _NAMES]
    for name, module, child in zip(_NAMES, modules, [*modules[1:], None], strict=True):
        sys.modules[name] = module
        module.__path__ = []
        if child is not None:
            setattr(module, child.__name__.rpartition(".")[2], child)
    modules[-1].enable_v2_behavior = lambda: None  # type: ignore[attr-defined]
