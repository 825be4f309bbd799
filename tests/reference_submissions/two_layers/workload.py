"""Regression with a convolution and a matrix in hidden layers, for what treats matrices."""

import numpy as np
from least_squares import workload as least_squares

BATCH_SIZE = 8
NAMES = ("conv.weight", "conv.bias", "hidden.weight", "hidden.bias")
NAMES += ("output.weight", "output.bias")


def _params():
    generator = np.random.default_rng(1)
    shapes = {"conv": (3, 3, 2, 4), "hidden": (4, 4), "output": (4, 1)}
    return {
        name: {
            "kernel": generator.normal(scale=0.5, size=shape).astype(np.float32),
            "bias": np.zeros(shape[-1], np.float32),
        }
        for name, shape in shapes.items()
    }


PARAMS = _params()
STATISTICS = {}


def batch(index):
    """Small images; the target is a smooth function of them."""
    generator = np.random.default_rng(index)
    inputs = generator.normal(size=(BATCH_SIZE, 4, 4, 2)).astype(np.float32)
    targets = np.sin(inputs[:, 1, 2, 0] + inputs[:, :, :, 1].mean(axis=(1, 2)))
    weights = np.ones(BATCH_SIZE, np.float32)
    return {"inputs": inputs, "targets": targets.astype(np.float32), "weights": weights}


WORKLOAD = least_squares.WORKLOAD.variant("two_layers", package="two_layers", model={})
