"""Parameter roles of a ``torch.nn`` model, from the classes of its layers."""

from torch import nn

from finishline.frameworks.pytorch.layers import BatchNorm2d
from finishline.spec import ParameterType

_LINEAR = {"weight": ParameterType.WEIGHT, "bias": ParameterType.BIAS}
_CONV = {"weight": ParameterType.CONV_WEIGHT, "bias": ParameterType.BIAS}
_BATCH_NORM = {"weight": ParameterType.BATCH_NORM_SCALE, "bias": ParameterType.BATCH_NORM_BIAS}
_LAYER_NORM = {"weight": ParameterType.LAYER_NORM_SCALE, "bias": ParameterType.LAYER_NORM_BIAS}

LAYER_ROLES: dict[type[nn.Module], dict[str, ParameterType]] = {
    nn.Linear: _LINEAR,
    nn.Conv1d: _CONV,
    nn.Conv2d: _CONV,
    nn.ConvTranspose2d: _CONV,
    nn.Embedding: {"weight": ParameterType.EMBEDDING},
    BatchNorm2d: _BATCH_NORM,
    nn.LayerNorm: _LAYER_NORM,
    nn.RMSNorm: {"weight": ParameterType.LAYER_NORM_SCALE},
}


def parameter_types(model: nn.Module) -> dict[str, ParameterType]:
    """The role of each parameter, by its name.

    A layer of a known class has the roles of ``LAYER_ROLES``; a module with parameters of its own
    declares them in a class attribute ``parameter_types``.

    Raises:
      TypeError: a parameter has no declared role.
    """
    types = {}
    for prefix, module in model.named_modules():
        roles = getattr(module, "parameter_types", None) or LAYER_ROLES.get(type(module), {})
        for name, _ in module.named_parameters(recurse=False):
            path = f"{prefix}.{name}" if prefix else name
            if name not in roles:
                raise TypeError(f"{type(model).__module__} declares no role for {path!r}.")
            types[path] = roles[name]
    return types
