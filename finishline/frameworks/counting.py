"""Sizes of models of any size in either framework: nothing is allocated and no data is read."""

import math
from collections.abc import Mapping
from typing import Any

from finishline.data.prepared import blank_example
from finishline.workload import WorkloadDefinition

Shapes = Mapping[str, tuple[int, ...]]


def count_parameters(definition: WorkloadDefinition, framework: str) -> int:
    """How many numbers ``definition``'s model trains in ``framework``, 'jax' or 'pytorch'."""
    return sum(math.prod(shape) for shape in parameter_shapes(definition, framework).values())


def parameter_shapes(definition: WorkloadDefinition, framework: str) -> Shapes:
    """The shape of each parameter tensor, by its path in the model.

    Imports the framework. In JAX the model is traced on one blank example; in PyTorch it is built
    on the meta device.
    """
    return {"jax": _jax_shapes, "pytorch": _pytorch_shapes}[framework](definition)


def _jax_shapes(definition: WorkloadDefinition) -> Shapes:
    import flax
    import jax

    model = definition.build_model("jax")

    def init(example: Mapping[str, Any]) -> Any:
        return model.init(jax.random.key(0), example, train=False, dropout_rate=0.0)["params"]

    params = jax.eval_shape(init, blank_example(definition.dataset.fields))
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    return {name: tuple(leaf.shape) for name, leaf in flat.items()}


def _pytorch_shapes(definition: WorkloadDefinition) -> Shapes:
    import torch

    with torch.device("meta"):
        model = definition.build_model("pytorch")
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
