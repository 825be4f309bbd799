"""From audio to normalised log-mel features, and SpecAugment, in PyTorch.

``frontend`` has the constants and their source; ``features_jax`` is the twin and has the choices.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from workloads.librispeech import frontend


class LogMel(nn.Module):
    """The front end; it has constants, which move with the module, and no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.window: torch.Tensor
        self.filters: torch.Tensor
        self.means: torch.Tensor
        self.deviations: torch.Tensor
        for name, values in _constants().items():
            constant = torch.tensor(values, dtype=torch.float32)
            self.register_buffer(name, constant, persistent=False)

    def _apply(self, *arguments: Any, **options: Any) -> "LogMel":
        """Moves or casts the constants; in double precision they have all of its digits."""
        super()._apply(*arguments, **options)
        for name, values in _constants().items():
            self.get_buffer(name).copy_(torch.tensor(values))
        return self

    def forward(
        self, audio: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The features of a batch of utterances, in the dtype that the module has.

        Args:
          audio: 16-bit samples, (batch, samples), of any dtype; what lies beyond ``lengths`` is
            not heeded.
          lengths: samples of each utterance, (batch,).

        Returns:
          Features, (batch, frames, 80), 0 in frames of padding, and ``paddings``, (batch, frames):
          1 for a frame of padding, 0 for one that lies within the utterance.
        """
        with torch.no_grad():
            signal = audio.to(self.window.dtype) * frontend.SCALE
            signal = signal * _is_before(lengths, audio.shape[1])
            before = F.pad(signal[:, :-1], (1, 0))
            signal = signal - frontend.PRE_EMPHASIS * before
            energies = _power_spectrum(signal, self.window) @ self.filters  # (batch, frames, 80)
            log_energies = energies.clamp(min=frontend.FLOOR).log()
            features = (log_energies - self.means) / self.deviations
            num_frames = (lengths - frontend.FRAME) // frontend.HOP + 1
            is_frame = _is_before(num_frames, features.shape[1])
            return features * is_frame[..., None], 1 - is_frame.to(features.dtype)


def _constants() -> dict[str, np.ndarray]:
    means, deviations = frontend.normalization()
    filters, window = frontend.mel_filters(), frontend.window()
    return {"window": window, "filters": filters, "means": means, "deviations": deviations}


def spec_augment(
    features: torch.Tensor,
    paddings: torch.Tensor,
    generator: torch.Generator | None = None,
    *,
    num_freq_masks: int = 2,
    max_freq_width: int = 27,
    num_time_masks: int = 10,
    max_time_share: float = 0.05,
) -> torch.Tensor:
    """Sets random bands of frequencies and spans of time to 0, the mean of the features.

    See ``features_jax.spec_augment``. ``generator`` is of the features' device; None is PyTorch's
    global one.
    """
    batch, _, bins = features.shape
    lengths = (1 - paddings).sum(dim=1)
    every_bin, widest = (lengths.new_full((batch,), n) for n in (bins, max_freq_width))
    longest = (lengths * max_time_share).floor()
    is_band = _random_spans(num_freq_masks, bins, every_bin, widest, generator)
    is_span = _random_spans(num_time_masks, paddings.shape[1], lengths, longest, generator)
    return features.masked_fill(is_band[:, None, :] | is_span[:, :, None], 0)


def _powers(signal: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """(batch, samples) to the power of each frequency, (batch, frames, FFT_SIZE / 2 + 1)."""
    frames = signal.unfold(1, frontend.FRAME, frontend.HOP)  # (batch, frames, FRAME)
    spectrum = torch.fft.rfft(frames * window, frontend.FFT_SIZE)
    return spectrum.real.square() + spectrum.imag.square()


def _shape_of_powers(signal: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    del window
    num_frames = frontend.num_frames(signal.shape[1])
    return signal.new_empty(signal.shape[0], num_frames, frontend.FFT_SIZE // 2 + 1)


# An operation of its own, which torch.compile takes as it is: it has no code for complex numbers,
# and warns of them.
_power_spectrum = torch.library.custom_op("librispeech::power_spectrum", _powers, mutates_args=())
_power_spectrum.register_fake(_shape_of_powers)


def _random_spans(
    count: int,
    size: int,
    lengths: torch.Tensor,
    widest: torch.Tensor,
    generator: torch.Generator | None,
) -> torch.Tensor:
    """Whether each place is in one of ``count`` spans, which lie in the first ``lengths`` places.

    Returns:
      bool, (batch, size).
    """
    shape = (2, len(lengths), count)
    uniform = torch.rand(shape, device=lengths.device, generator=generator)
    widths = _up_to(widest[:, None], uniform[0])
    starts = _up_to(lengths[:, None] - widths, uniform[1])
    places = torch.arange(size, device=lengths.device)
    starts, widths = starts[..., None], widths[..., None]  # (batch, count, 1)
    return ((places >= starts) & (places < starts + widths)).any(dim=1)


def _up_to(largest: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Whole numbers from 0 to ``largest``, inclusive, equally likely, from numbers in [0, 1)."""
    return torch.minimum((uniform * (largest + 1)).floor(), largest)


def _is_before(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """Whether each of ``size`` places is among the first ``lengths``: bool, (batch, size)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]
