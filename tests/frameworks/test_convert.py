"""Conversion of snapshots between the frameworks."""

import numpy as np

from finishline.frameworks.convert import convert_snapshot

# Names and shapes in flax, and what they are in PyTorch.
_FLAX = {
    "params/Dense/kernel": (3, 5),
    "params/Dense/bias": (5,),
    "params/Block/Conv/kernel": (2, 4, 3, 5),
    "params/Block/Norm/scale": (5,),
    "params/Embed/embedding": (7, 3),
    "batch_stats/Block/Norm/mean": (5,),
    "batch_stats/Block/Norm/var": (5,),
}
_TORCH = {
    "Dense.weight": (5, 3),
    "Dense.bias": (5,),
    "Block.Conv.weight": (5, 3, 2, 4),
    "Block.Norm.weight": (5,),
    "Embed.weight": (7, 3),
    "Block.Norm.running_mean": (5,),
    "Block.Norm.running_var": (5,),
}


def _snapshot() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape) for name, shape in _FLAX.items()}


def test_names_and_shapes_are_those_of_the_other_framework():
    converted = convert_snapshot(_snapshot(), "pytorch", _TORCH)
    assert {name: array.shape for name, array in converted.items()} == _TORCH


def test_there_and_back_nothing_changes():
    before = _snapshot()
    there = convert_snapshot(before, "pytorch", _TORCH)
    back = convert_snapshot(there, "jax", _FLAX)
    assert back.keys() == before.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(back[name], array, strict=True)
