"""Saving optimizer states of any shape without running code from a file.

A state is packed into tensors, numbers, strings and containers of these, which
``torch.load(weights_only=True)`` reads back. Objects with ``state_dict`` and ``load_state_dict``
are packed through them, others by their attributes. A tensor that is one of the model's parameters
stays one. What is left (functions, generators) is named, and after a resume it is what
``init_optimizer_state`` made.
"""

import collections
import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

_PLAIN = (bool, int, float, str, type(None))
_NOT_SAVED = "__not_saved__"
_ALIAS = "__parameter__"
_ATTRIBUTES = "__attributes__"
_MAX_DEPTH = 50


class Packer:
    """Packs one state.

    Args:
      model: whose parameters may be part of the state, or None.

    Attributes:
      not_saved: what could not be packed, by its path.
      types: of what is packed by its content alone, by the path; a fresh state must have the same.
    """

    def __init__(self, model: nn.Module | None = None):
        self.not_saved: dict[str, Any] = {}
        self.types: dict[str, type] = {}
        named = model.named_parameters() if model is not None else ()
        self._parameters = {p.data_ptr(): (name, p) for name, p in named if p.numel()}

    def pack(self, value: Any, path: str = "optimizer_state", depth: int = _MAX_DEPTH) -> Any:
        """``value`` as plain containers."""
        if isinstance(value, torch.Tensor):
            return self._alias(value) or value
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, np.ndarray | np.generic):
            return torch.as_tensor(np.asarray(value))
        if depth == 0:  # an object that holds itself
            return self._leave_out(value, path)
        if hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
            self.types[path] = type(value)
            return self.pack(value.state_dict(), path, depth - 1)
        if isinstance(value, Mapping):
            return self._pack_mapping(value, path, depth)
        if isinstance(value, Sequence):
            return self._pack_sequence(value, path, depth)
        if hasattr(value, "__dict__") and not callable(value) and not hasattr(value, "__next__"):
            self.types[path] = type(value)
            return {_ATTRIBUTES: self._pack_items(vars(value), path + ".{}", depth)}
        return self._leave_out(value, path)

    def _pack_mapping(self, value: Mapping[Any, Any], path: str, depth: int) -> Any:
        if not all(isinstance(key, str | int) for key in value):
            return self._leave_out(value, path)
        if type(value) is not dict:
            self.types[path] = type(value)
        return self._pack_items(value, path + "[{!r}]", depth)

    def _pack_items(self, items: Mapping[Any, Any], path: str, depth: int) -> dict[Any, Any]:
        return {key: self.pack(item, path.format(key), depth - 1) for key, item in items.items()}

    def _pack_sequence(self, value: Sequence[Any], path: str, depth: int) -> Any:
        packed = [self.pack(item, f"{path}[{i}]", depth - 1) for i, item in enumerate(value)]
        if type(value) is tuple:
            return tuple(packed)
        if type(value) is not list:
            self.types[path] = type(value)
        return packed

    def _alias(self, tensor: torch.Tensor) -> dict[str, Any] | None:
        """How to find ``tensor`` again if it is a parameter, or shares its memory."""
        if not tensor.numel() or tensor.layout != torch.strided:
            return None
        name, parameter = self._parameters.get(tensor.data_ptr(), ("", None))
        if parameter is None or (tensor.shape, tensor.stride(), tensor.dtype) != (
            parameter.shape,
            parameter.stride(),
            parameter.dtype,
        ):
            return None
        return {_ALIAS: name, "is_parameter": tensor is parameter}

    def _leave_out(self, value: Any, path: str) -> str:
        self.not_saved[path] = value
        return _NOT_SAVED


def pack(state: Any, model: nn.Module | None = None) -> tuple[Any, list[str]]:
    """``state`` as plain containers, and the paths and types of what cannot be saved."""
    packer = Packer(model)
    packed = packer.pack(state)
    return packed, [f"{path}: {type(value).__name__}" for path, value in packer.not_saved.items()]


def unpack(template: Any, packed: Any, model: nn.Module | None = None) -> Any:
    """``packed`` in the structure and with the types of ``template``, a fresh state."""
    return _Unpacker(dict(model.named_parameters()) if model is not None else {})(template, packed)


class _Unpacker:
    def __init__(self, parameters: Mapping[str, torch.Tensor]):
        self._parameters = parameters

    def __call__(self, template: Any, packed: Any) -> Any:
        if isinstance(packed, str) and packed == _NOT_SAVED:
            return template
        if hasattr(template, "state_dict") and hasattr(template, "load_state_dict"):
            template.load_state_dict(self._merge(template.state_dict(), packed))
            return template
        return self._merge(template, packed)

    def _merge(self, template: Any, packed: Any) -> Any:
        if isinstance(template, np.ndarray | np.generic) and isinstance(packed, torch.Tensor):
            array = packed.cpu().numpy()
            return array if isinstance(template, np.ndarray) else template.dtype.type(array)
        if isinstance(packed, dict) and _ALIAS in packed:
            parameter = self._parameters[packed[_ALIAS]]
            return parameter if packed["is_parameter"] else parameter.data
        if isinstance(packed, dict) and _ATTRIBUTES in packed:
            for name, item in packed[_ATTRIBUTES].items():
                setattr(template, name, self(getattr(template, name, None), item))
            return template
        if isinstance(packed, dict):
            return self._merge_mapping(template if isinstance(template, Mapping) else {}, packed)
        if isinstance(packed, list | tuple):
            return self._merge_sequence(template, packed)
        return packed

    def _merge_mapping(self, template: Mapping[Any, Any], packed: dict[Any, Any]) -> Any:
        merged = {key: self(template.get(key), item) for key, item in packed.items()}
        if not isinstance(template, dict):
            kind: Any = type(template)
            return kind(merged)
        fresh = copy.copy(template)  # keeps what a subclass knows beside its items
        fresh.clear()
        fresh.update(merged)
        return fresh

    def _merge_sequence(self, template: Any, packed: list[Any] | tuple[Any, ...]) -> Any:
        known = template if isinstance(template, Sequence) else ()
        items = [self(known[i] if i < len(known) else None, item) for i, item in enumerate(packed)]
        if isinstance(packed, tuple):
            return tuple(items)
        if isinstance(template, collections.deque):
            return collections.deque(items, template.maxlen)
        kind: Any = type(template) if isinstance(template, Sequence) else list
        return kind(*items) if hasattr(template, "_fields") else kind(items)
