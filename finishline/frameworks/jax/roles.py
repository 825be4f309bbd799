"""Parameter roles of a ``flax.linen`` model, from the classes of its layers."""

from collections.abc import Mapping
from typing import Any

import flax
import flax.linen as nn
import jax

from finishline.spec import ParameterType

LAYER_ROLES: dict[type, dict[str, ParameterType]] = {
    nn.Dense: {"kernel": ParameterType.WEIGHT, "bias": ParameterType.BIAS},
    nn.Conv: {"kernel": ParameterType.CONV_WEIGHT, "bias": ParameterType.BIAS},
    nn.ConvTranspose: {"kernel": ParameterType.CONV_WEIGHT, "bias": ParameterType.BIAS},
    nn.Embed: {"embedding": ParameterType.EMBEDDING},
    nn.BatchNorm: {
        "scale": ParameterType.BATCH_NORM_SCALE,
        "bias": ParameterType.BATCH_NORM_BIAS,
    },
    nn.LayerNorm: {
        "scale": ParameterType.LAYER_NORM_SCALE,
        "bias": ParameterType.LAYER_NORM_BIAS,
    },
    nn.RMSNorm: {"scale": ParameterType.LAYER_NORM_SCALE},
}


def parameter_types(model: nn.Module, params: Any, example: Mapping[str, Any]) -> Any:
    """A tree like ``params`` with the role of each parameter.

    A layer of a known class has the roles of ``LAYER_ROLES``; a module with parameters of its own
    declares them in a class attribute ``parameter_types``.

    Raises:
      TypeError: a parameter has no declared role.
    """
    roles: dict[tuple[str, ...], Mapping[str, ParameterType]] = {}

    def note_roles(next_call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        declared = getattr(context.module, "parameter_types", None)
        roles[context.module.path] = declared or LAYER_ROLES.get(type(context.module), {})
        return next_call(*args, **kwargs)

    with nn.intercept_methods(note_roles):
        jax.eval_shape(
            lambda batch: model.init(jax.random.key(0), batch, train=False, dropout_rate=0.0),
            dict(example),
        )
    flat = flax.traverse_util.flatten_dict(params)
    undeclared = [path for path in flat if path[-1] not in roles.get(path[:-1], {})]
    if undeclared:
        raise TypeError(f"{type(model).__module__} declares no role for {undeclared}.")
    return flax.traverse_util.unflatten_dict({path: roles[path[:-1]][path[-1]] for path in flat})
