"""Conversion of flax parameters to the names and layouts of PyTorch, in NumPy.

It relies on a convention of the models in ``workloads/``: submodules have the same names in both
frameworks.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

# Names of a flax leaf -> names of a PyTorch one; other names are the same in both.
_NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "embedding": "weight",
    "mean": "running_mean",
    "var": "running_var",
}


def flax_to_torch_state_dict(
    params: Mapping[str, Any], batch_stats: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The ``state_dict`` of the PyTorch model that computes the same function.

    Kernels go from (..., in, out) to (out, in, ...): a dense layer's is transposed, a
    convolution's goes from height, width, in, out to out, in, height, width. A transposed
    convolution with ``transpose_kernel`` has height, width, out, in, which is how PyTorch's in,
    out, height, width comes of the same rule.

    Args:
      params: nested dicts of arrays, flax's collection 'params'. Gradients have this form, too.
      batch_stats: flax's collection 'batch_stats'; empty for a model without batch norm.
    """
    state = {}
    for tree in (params, batch_stats):
        for path, value in _leaves(tree):
            *modules, leaf = path
            array = np.asarray(value)
            if leaf == "kernel":
                array = np.moveaxis(array, (-1, -2), (0, 1))
            state[".".join([*modules, _NAMES.get(leaf, leaf)])] = np.array(array, order="C")
    return state


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            for path, leaf in _leaves(value):
                yield (name, *path), leaf
        else:
            yield (name,), value
