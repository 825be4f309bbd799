"""Names that JAX has removed since the submissions were written, by what they are called now.

Sources: JAX's change log, https://docs.jax.dev/en/latest/changelog.html, and the errors of the
installed version.
"""

import importlib
import sys
from collections.abc import Iterable, Iterator, Set
from types import ModuleType
from typing import Any

from finishline.compat.source import Use

_FUNCTIONS = "finishline.compat.jax_functions"

# Old name -> the object that it is an alias of.
REMOVED = {
    **{
        f"jax.tree_{name}": f"jax.tree_util.tree_{name}"
        for name in ("map", "leaves", "flatten", "unflatten", "structure", "transpose")
    },
    "jax.tree_multimap": "jax.tree_util.tree_map",
    "jax.tree_util.tree_multimap": "jax.tree_util.tree_map",
    "jax.partial": "functools.partial",
    "jax.device_put_replicated": f"{_FUNCTIONS}.device_put_replicated",
    "jax.device_put_sharded": f"{_FUNCTIONS}.device_put_sharded",
    "jax.linear_util": "jax.extend.linear_util",
    "jax.experimental.optimizers": "jax.example_libraries.optimizers",
    "jax.experimental.stax": "jax.example_libraries.stax",
    "jax.experimental.PartitionSpec": "jax.sharding.PartitionSpec",
    "jax.lib.xla_bridge": "jax.extend.backend",
    "jax.random.KeyArray": "jax.Array",
    "jax.random.PRNGKeyArray": "jax.Array",
    "jax.random.shuffle": "jax.random.permutation",
    "jax.interpreters.xla.DeviceArray": "jax.Array",
    "jax.nn.normalize": "jax.nn.standardize",
    "jax.core.Jaxpr": "jax.extend.core.Jaxpr",
    "jax.core.Literal": "jax.extend.core.Literal",
    "jax.core.Var": "jax.extend.core.Var",
    "jax.numpy.DeviceArray": "jax.Array",
    "jax.numpy.alltrue": "jax.numpy.all",
    "jax.numpy.cumproduct": "jax.numpy.cumprod",
    "jax.numpy.fix": "jax.numpy.trunc",
    "jax.numpy.in1d": f"{_FUNCTIONS}.in1d",
    "jax.numpy.msort": f"{_FUNCTIONS}.msort",
    "jax.numpy.product": "jax.numpy.prod",
    "jax.numpy.round_": "jax.numpy.round",
    "jax.numpy.row_stack": "jax.numpy.vstack",
    "jax.numpy.sometrue": "jax.numpy.any",
    "jax.numpy.trapz": "jax.numpy.trapezoid",
}

# Function whose arguments were renamed -> its old keywords, and what takes them.
RENAMED = {
    "jax.numpy.clip": (frozenset({"a", "a_min", "a_max"}), f"{_FUNCTIONS}.clip"),
    "jax.numpy.reshape": (frozenset({"newshape"}), f"{_FUNCTIONS}.reshape"),
}


# A package that published submissions import, and that itself uses names that JAX has removed.
OLD_PACKAGE = "learned_optimization"


def needed(used: Iterable[Use], packages: Set[str] = frozenset()) -> Iterator[str]:
    """The names of the shims for what a submission uses, in order and without repetition.

    Args:
      used: the names of libraries in its source.
      packages: what it imports.
    """
    found = {name for name in REMOVED if name.startswith("jax.tree_") and OLD_PACKAGE in packages}
    for use in used:
        parts = use.name.split(".")
        prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
        found |= prefixes & REMOVED.keys()
        if use.name in RENAMED and (old := use.keywords & RENAMED[use.name][0]):
            found.add(_call_shim(use.name, old))
    yield from sorted(found)


def _call_shim(function: str, keywords: Iterable[str]) -> str:
    return f"{function}({'=, '.join(sorted(keywords))}=)"


def supply(shims: Iterable[str]) -> None:
    """Binds the old names among ``shims`` in JAX's modules, as far as they are missing."""
    for shim in shims:
        if shim in REMOVED:
            _bind(shim, _find(REMOVED[shim]))
        elif (function := shim.partition("(")[0]) in RENAMED:
            module, _, name = function.rpartition(".")
            setattr(importlib.import_module(module), name, _find(RENAMED[function][1]))


def _bind(name: str, value: Any) -> None:
    parent, _, attribute = name.rpartition(".")
    module = importlib.import_module(parent)
    if not hasattr(module, attribute):
        setattr(module, attribute, value)
        if isinstance(value, ModuleType):
            sys.modules[name] = value  # for `import jax.linear_util`


def _find(name: str) -> Any:
    parent, _, attribute = name.rpartition(".")
    module = importlib.import_module(parent)
    if hasattr(module, attribute):
        return getattr(module, attribute)
    return importlib.import_module(name)
