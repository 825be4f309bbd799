"""Saving optimizer states of any shape without running code from a file.

A state is packed into tensors, numbers, strings and containers of these, which
``torch.load(weights_only=True)`` reads back. Objects with ``state_dict`` and ``load_state_dict``
are packed through them. What is left (functions, custom objects) is named, and after a resume it
is what ``init_optimizer_state`` made.
"""

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
        return (
            template.dtype.type(packed.cpu().numpy())
            if template.ndim == 0
            else packed.cpu().numpy()
        )
    if isinstance(packed, dict):
        fresh = template if isinstance(template, Mapping) else {}
        merged = {key: unpack(fresh.get(key), item) for key, item in packed.items()}
        return merged if type(template) in (dict, type(None)) else type(template)(merged)
    if isinstance(packed, list):
        fresh = template if isinstance(template, Sequence) else ()
        items = [
            unpack(fresh[i] if i < len(fresh) else None, item) for i, item in enumerate(packed)
        ]
        return _like(template, items)
    return packed


def _like(template: Any, items: list[Any]) -> Any:
    if template is None:
        return items
    return type(template)(*items) if hasattr(template, "_fields") else type(template)(items)
