"""Initialisers that PyTorch lacks."""

import math

import torch
from torch import nn

# Standard deviation of a standard normal variable truncated to [-2, 2].
_TRUNCATED_STD = 0.87962566103423978


@torch.no_grad()
def lecun_normal_(module: nn.Module) -> None:
    """Sets kernels to LeCun-normal and biases to 0, as flax does; for ``module.apply``.

    A kernel's elements have variance 1 / fan_in and are cut at two standard deviations of the
    untruncated normal. Touches ``nn.Linear``, ``nn.Conv1d/2d/3d`` and ``nn.ConvTranspose2d`` only.
    The fan-in of a transposed convolution is (channels in) x (pixels of the kernel), as it is in
    flax; PyTorch would count the channels out.

    Source: LeCun, Bottou, Orr and Müller, 1998, "Efficient BackProp", section 4.6.
    """
    if isinstance(module, nn.ConvTranspose2d):
        fan_in = module.weight[:, 0].numel()  # the weight is (in, out, height, width)
    elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        fan_in = module.weight[0].numel()
    else:
        return
    lecun_normal_weight_(module.weight, fan_in)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


@torch.no_grad()
def lecun_normal_weight_(weight: torch.Tensor, fan_in: int) -> None:
    """Sets one kernel as ``lecun_normal_`` does, for a layer with ``fan_in`` inputs."""
    std = math.sqrt(1 / fan_in) / _TRUNCATED_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
