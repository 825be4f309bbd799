"""Conversion of parameters between the names and layouts of flax and PyTorch, in NumPy.

It relies on a convention of the models in ``workloads/``: submodules have the same names in both
frameworks.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

# Names of a flax leaf -> names of a PyTorch one; other names are the same in both.
_NAMES = {
    "scale": "weight",
    "embedding": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
# What the names of an LSTM's two biases begin with.
_FIRST_BIAS, _SECOND_BIAS = "bias_ih", "bias_hh"


def flax_to_torch_state_dict(
    params: Mapping[str, Any], batch_stats: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The ``state_dict`` of the PyTorch model that computes the same function.

    Kernels go from (..., in, out) to (out, in, ...): a dense layer's is transposed, a
    convolution's goes from height, width, in, out to out, in, height, width. A transposed
    convolution with ``transpose_kernel`` has height, width, out, in, which is how PyTorch's in,
    out, height, width comes of the same rule.

    An LSTM of PyTorch has a second bias, ``bias_hh``, which flax's lacks and which has no effect in
    ours: it is 0, and so is its gradient. See ``finishline.frameworks.pytorch.lstm``.

    Args:
      params: nested dicts of arrays, flax's collection 'params'. Gradients have this form, too.
      batch_stats: flax's collection 'batch_stats'; empty for a model without batch norm.
    """
    state = {}
    for tree in (params, batch_stats):
        for path, value in _leaves(tree):
            array = np.asarray(value)
            if _is_kernel(path[-1]):
                array = np.moveaxis(array, (-1, -2), (0, 1))
            name = _torch_name(path)
            state[name] = np.array(array, order="C")
            if path[-1].startswith(_FIRST_BIAS):
                state[name.replace(_FIRST_BIAS, _SECOND_BIAS)] = np.zeros_like(array)
    return state


def convert_snapshot(
    arrays: Mapping[str, np.ndarray], framework: str, names: Iterable[str]
) -> dict[str, np.ndarray]:
    """A snapshot of one framework's model for the other's.

    Args:
      arrays: the snapshot.
      framework: the one it is for, 'jax' or 'pytorch'.
      names: of the arrays that the model in ``framework`` has.

    Raises:
      KeyError: ``arrays`` lacks one of them.
    """
    if framework == "pytorch":
        trees: dict[str, dict[str, Any]] = {"params": {}, "batch_stats": {}}
        for name, array in arrays.items():
            collection, *path = name.split("/")
            tree = trees[collection]
            for module in path[:-1]:
                tree = tree.setdefault(module, {})
            tree[path[-1]] = array
        state = flax_to_torch_state_dict(trees["params"], trees["batch_stats"])
        return {name: state[name] for name in names}
    return {name: _flax_array(arrays, name.split("/")[1:]) for name in names}


def _flax_array(state: Mapping[str, np.ndarray], path: Iterable[str]) -> np.ndarray:
    """The array of a flax leaf from a PyTorch model's: layouts as above, the other way."""
    *_, leaf = path = tuple(path)
    array = state[_torch_name(path)]
    if not _is_kernel(leaf):
        return array
    return np.ascontiguousarray(np.moveaxis(array, (0, 1), (-1, -2)))


def _torch_name(path: Iterable[str]) -> str:
    *modules, leaf = path
    if _is_kernel(leaf):  # of an LSTM, for one, which has several
        leaf = leaf.replace("kernel", "weight", 1)
    return ".".join([*modules, _NAMES.get(leaf, leaf)])


def _is_kernel(leaf: str) -> bool:
    return leaf.startswith("kernel")


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            for path, leaf in _leaves(value):
                yield (name, *path), leaf
        else:
            yield (name,), value
