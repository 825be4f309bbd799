"""Telling whether an object that cannot be saved has changed.

A checkpoint cannot hold functions, closures or objects of unknown kind; after a resume they are
what ``init_optimizer_state`` makes them. That is right as long as they are still as it made them.
"""

import collections
import enum
import functools
import hashlib
import types
from collections.abc import Hashable, Mapping, Set
from typing import Any

_MAX_DEPTH = 12
_PLAIN = (bool, int, float, complex, str, bytes, type(None), enum.Enum)
_BY_IDENTITY = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType)
_FRAMEWORKS = ("jax", "jaxlib", "torch", "numpy", "optax", "flax")


class Fingerprint:
    """Equal to another of the same object as long as nothing that it holds has changed.

    It keeps the parts that it knows by identity, so that no new object can take their place.

    Args:
      value: the object.
      known: ids of objects that a resume restores by itself, such as the model.
    """

    def __init__(self, value: Any, known: Set[int] = frozenset()):
        self._kept: list[Any] = []
        self._known = known
        self._key = self._of(value, _MAX_DEPTH)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fingerprint) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def _of(self, value: Any, depth: int) -> Hashable:
        if isinstance(value, _PLAIN):
            return value if value == value else "not a number"
        if isinstance(value, _BY_IDENTITY) or id(value) in self._known:
            return self._identity(value)
        if depth == 0:
            return object()  # equal to nothing
        for kinds, take_apart in _PARTS:
            if isinstance(value, kinds):
                return type(value), *(self._of(p, depth - 1) for p in take_apart(value))
        return self._of_object(value, depth)

    def _of_object(self, value: Any, depth: int) -> Hashable:
        """Arrays, compiled functions, and instances of other people's classes."""
        if type(value).__name__ == "PyTreeDef":
            return str(value)
        if hasattr(value, "_version") and hasattr(value, "data_ptr"):  # a tensor
            return self._identity(value), value._version
        if type(value).__module__ == "numpy" and hasattr(value, "tobytes"):
            return str(value.dtype), hashlib.sha256(value.tobytes()).hexdigest()
        if hasattr(value, "is_deleted"):  # an array of JAX, which nothing changes
            return self._identity(value)
        if callable(value) and hasattr(value, "__wrapped__"):
            return self._of(value.__wrapped__, depth - 1)
        if hasattr(value, "__next__") or not hasattr(value, "__dict__"):
            return self._identity(value) if _is_constant(value) else object()
        return type(value), self._of(vars(value), depth - 1)

    def _identity(self, value: Any) -> Hashable:
        self._kept.append(value)
        return id(value)


def _is_constant(value: Any) -> bool:
    """Whether a framework's object without attributes is a value, such as a dtype or a sharding."""
    module = type(value).__module__.split(".")[0]
    return module in _FRAMEWORKS and isinstance(value, Hashable) and not hasattr(value, "set_state")


def _parts_of_function(function: types.FunctionType) -> list[Any]:
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # not assigned yet
            cells.append(None)
    return [function.__code__, function.__defaults__, function.__kwdefaults__, *cells]


_PARTS: tuple[tuple[Any, Any], ...] = (
    (types.FunctionType, _parts_of_function),
    (types.MethodType, lambda method: [method.__func__, method.__self__]),
    (functools.partial, lambda partial: [partial.func, partial.args, partial.keywords]),
    (Mapping, lambda mapping: [part for item in mapping.items() for part in item]),
    ((list, tuple, set, frozenset, collections.deque), list),
)


def changed(before: Mapping[str, Fingerprint], now: Mapping[str, Fingerprint]) -> list[str]:
    """The names in ``now`` of what was not there before, or was something else."""
    return [name for name, fingerprint in now.items() if before.get(name) != fingerprint]
