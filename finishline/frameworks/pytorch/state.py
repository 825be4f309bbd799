"""Saving optimizer states of any shape without running code from a file.

A state is packed into tensors, numbers, strings and containers of these, which
``torch.load(weights_only=True)`` reads back. Objects with ``state_dict`` and ``load_state_dict``
are packed through them. What is left (functions, custom objects) is named, and after a resume it
is what ``init_optimizer_state`` made.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

_PLAIN = (bool, int, float, str, type(None), torch.Tensor)
_NOT_SAVED = "__not_saved__"


def pack(state: Any) -> tuple[Any, list[str]]:
    """``state`` as plain containers, and the paths and types of what cannot be saved."""
    not_saved: list[str] = []
    return _pack(state, "optimizer_state", not_saved), not_saved


def _pack(value: Any, path: str, not_saved: list[str]) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return torch.as_tensor(np.asarray(value))
    if hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
        return _pack(value.state_dict(), path, not_saved)
    if isinstance(value, Mapping):
        return {
            key: _pack(item, f"{path}[{key!r}]", not_saved)
            for key, item in value.items()
            if isinstance(key, str | int)
        }
    if isinstance(value, Sequence):
        return [_pack(item, f"{path}[{i}]", not_saved) for i, item in enumerate(value)]
    not_saved.append(f"{path}: {type(value).__name__}")
    return _NOT_SAVED


def unpack(template: Any, packed: Any) -> Any:
    """``packed`` in the structure and with the types of ``template``, a fresh state."""
    if isinstance(packed, str) and packed == _NOT_SAVED:
        return template
    if hasattr(template, "state_dict") and hasattr(template, "load_state_dict"):
        template.load_state_dict(_merge(template.state_dict(), packed))
        return template
    return _merge(template, packed)


def _merge(template: Any, packed: Any) -> Any:
    if isinstance(template, np.ndarray | np.generic) and isinstance(packed, torch.Tensor):
        array = packed.cpu().numpy()
        return array if isinstance(template, np.ndarray) else template.dtype.type(array)
    if isinstance(packed, dict):
        return _merge_mapping(template if isinstance(template, Mapping) else {}, packed)
    if isinstance(packed, list):
        return _merge_sequence(template if isinstance(template, Sequence) else [], packed)
    return packed


def _merge_mapping(template: Mapping[Any, Any], packed: dict[Any, Any]) -> Any:
    merged = {key: unpack(template.get(key), item) for key, item in packed.items()}
    if not isinstance(template, dict):
        kind: Any = type(template)
        return kind(merged)
    fresh = copy.copy(template)  # keeps what a subclass knows beside its items
    fresh.clear()
    fresh.update(merged)
    return fresh


def _merge_sequence(template: Sequence[Any], packed: list[Any]) -> Any:
    items = [
        unpack(template[i] if i < len(template) else None, item) for i, item in enumerate(packed)
    ]
    kind: Any = type(template)
    return kind(*items) if hasattr(template, "_fields") else kind(items)
