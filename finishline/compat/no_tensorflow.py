"""A stand-in for TensorFlow, which ``learned_optimization`` imports to write summaries alone."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

_MODULES = ("tensorflow.compat.v2", "tensorboard.plugins.hparams.api")


def supply() -> None:
    """Makes importing what writes summaries do nothing, unless there is a real TensorFlow."""
    if importlib.util.find_spec("tensorflow") is not None:
        return
    importlib.import_module("flax.io")  # looks for TensorFlow, too, and must not find it
    for name in _MODULES:
        _create(name)
    sys.modules[_MODULES[0]].enable_v2_behavior = lambda: None  # type: ignore[attr-defined]


def _create(name: str) -> ModuleType:
    """An empty module of this name, and the packages around it."""
    if name not in sys.modules:
        module = ModuleType(name, __doc__)
        module.__path__ = []
        module.__spec__ = ModuleSpec(name, None, is_package=True)
        sys.modules[name] = module
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(_create(parent), own, module)
    return sys.modules[name]
