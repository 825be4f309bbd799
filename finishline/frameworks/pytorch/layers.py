"""Layers with the definitions of flax, so that both frameworks train the same model."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import distributed, nn
from torch.nn import functional as F

from finishline.spec import ParameterType


def dropout(x: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """Sets each element of ``x`` to 0 with probability ``rate`` and divides the others by 1 - rate.

    Args:
      x: of any shape.
      rate: in [0, 1]. At 0 no random bits are drawn.
      training: False makes this the identity.
    """
    if not training or rate == 0:
        return x
    return F.dropout(x, rate)


def channel_dropout(x: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
    """``dropout`` of whole channels of ``x``, (batch, channels, height, width).

    Source: Tompson et al., 2015, arXiv:1411.4280, section 3.2.
    """
    if not training or rate == 0:
        return x
    return F.dropout2d(x, rate)


def channels_first(images: torch.Tensor) -> torch.Tensor:
    """Images of (batch, height, width, channels) as (batch, channels, height, width).

    On a GPU they stay channels-last in memory, which its convolutions prefer; they and the layers
    after them keep that layout by themselves, whatever the layout of the weights. On the CPU they
    are made contiguous, because batch norm on channels-last is less exact there.
    """
    x = images.permute(0, 3, 1, 2)
    # Not `contiguous`: with one channel the layout is ambiguous, and nothing would be copied.
    return x if x.is_cuda else x.clone(memory_format=torch.contiguous_format)


class BatchNorm(nn.Module):
    """What batch norms share: parameters, and the running statistics of flax.

    The running variance is the mean of the biased variances of the batches, and under
    ``torch.distributed`` the statistics are those of the batch of all ranks, on any device.

    Attributes:
      update_running_statistics: False leaves the running statistics as they are in training.
    """

    def __init__(self, num_features: int, *, decay: float, eps: float, initial_weight: float):
        """Args: number of channels, share of the old running statistics that is kept, epsilon."""
        super().__init__()
        self.decay = decay
        self.eps = eps
        self.update_running_statistics = True
        self.weight = nn.Parameter(torch.full((num_features,), initial_weight))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.running_mean: torch.Tensor
        self.running_var: torch.Tensor
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def _update(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        """Takes mean and biased variance of a batch into the running statistics, if asked to."""
        if self.update_running_statistics:
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), 1 - self.decay)
                self.running_var.lerp_(variance.to(self.running_var.dtype), 1 - self.decay)

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        return f"{len(self.weight)}, decay={self.decay}, eps={self.eps}"


class BatchNorm2d(BatchNorm):
    """Batch norm of (batch, channels, height, width); see ``BatchNorm`` for its statistics."""

    def __init__(self, num_features: int, *, decay: float = 0.9, eps: float = 1e-5):
        """Args: number of channels, share of the old running statistics that is kept, epsilon."""
        super().__init__(num_features, decay=decay, eps=eps, initial_weight=1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises each channel of ``x``, (batch, channels, height, width)."""
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        if _num_processes() > 1:
            y, mean, variance = self._normalize_over_ranks(x)
        else:
            y, mean, inverse_std = torch.native_batch_norm(
                x, self.weight, self.bias, None, None, True, 0.0, self.eps
            )
            variance = inverse_std.detach().pow(-2).sub(self.eps).clamp(min=0)
        self._update(mean, variance)
        return y

    def _normalize_over_ranks(
        self, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The output, and mean and biased variance of each channel over the batch of all ranks."""
        dims, shape = (0, 2, 3), (1, -1, 1, 1)
        count = x.new_tensor([x.numel() / x.shape[1]], dtype=torch.float32)
        sums = _SumOverRanks.apply(torch.cat([x.float().sum(dims), count]))
        mean = sums[:-1] / sums[-1]  # (channels,)
        centred = x - mean.view(shape)
        variance = _SumOverRanks.apply(centred.square().sum(dims)) / sums[-1]
        scale = self.weight * torch.rsqrt(variance + self.eps)
        y = centred * scale.view(shape) + self.bias.view(shape)
        return y.to(x.dtype), mean.detach(), variance.detach()


class MaskedBatchNorm(BatchNorm):
    """Batch norm of sequences, (batch, length, channels), over what is no padding.

    The scale is kept as its difference from 1, so that it starts at 0 and weight decay draws it to
    1. See ``BatchNorm`` for the statistics. The twin is in ``finishline.frameworks.jax.layers``.
    """

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {
        "weight": ParameterType.BATCH_NORM_SCALE,
        "bias": ParameterType.BATCH_NORM_BIAS,
    }

    def __init__(self, num_features: int, *, decay: float = 0.999, eps: float = 1e-3):
        """Args: number of channels, share of the old running statistics that is kept, epsilon."""
        super().__init__(num_features, decay=decay, eps=eps, initial_weight=0.0)

    def forward(self, x: torch.Tensor, paddings: torch.Tensor) -> torch.Tensor:
        """Normalises each channel of ``x``.

        Args:
          x: (batch, length, channels).
          paddings: (batch, length), 1 for padding and 0 else.

        Returns:
          The shape of ``x``, 0 in padding.
        """
        is_valid = (1 - paddings).to(x.dtype).unsqueeze(-1)  # (batch, length, 1)
        if self.training:
            count = self._total(is_valid.sum()).clamp(min=1)
            mean = self._total((x * is_valid).sum(dim=(0, 1))) / count  # (channels,)
            centred = (x - mean) * is_valid
            variance = self._total(centred.square().sum(dim=(0, 1))) / count
            self._update(mean.detach(), variance.detach())
        else:
            centred, variance = (x - self.running_mean) * is_valid, self.running_var
        scale = (1 + self.weight) * torch.rsqrt(variance + self.eps)
        return centred * scale + self.bias * is_valid

    def _total(self, x: torch.Tensor) -> torch.Tensor:
        return _SumOverRanks.apply(x) if _num_processes() > 1 else x


class _SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over all ranks; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        return total


def _num_processes() -> int:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    return 1
