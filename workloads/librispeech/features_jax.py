"""From audio to normalised log-mel features, and SpecAugment, in JAX.

``frontend`` has the constants and their source; ``features_pytorch`` is the twin.
"""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from workloads.librispeech import frontend


def log_mel(
    audio: jax.Array, lengths: jax.Array, dtype: DTypeLike | None = None
) -> tuple[jax.Array, jax.Array]:
    """The features of a batch of utterances.

    Args:
      audio: 16-bit samples, (batch, samples), of any dtype; what lies beyond ``lengths`` is not
        heeded.
      lengths: samples of each utterance, (batch,).
      dtype: of the features; by default float32, or float64 where JAX has 64 bits on.

    Returns:
      Features, (batch, frames, 80), 0 in frames of padding, and ``paddings``, (batch, frames): 1
      for a frame of padding, 0 for one that lies within the utterance.
    """
    dtype = jnp.result_type(float) if dtype is None else dtype
    samples = audio.shape[1]
    is_sample = jnp.arange(samples) < lengths[:, None]
    signal = jnp.where(is_sample, audio.astype(dtype) * frontend.SCALE, 0)
    before = jnp.pad(signal[:, :-1], ((0, 0), (1, 0)))
    signal = signal - frontend.PRE_EMPHASIS * before
    power = _power_spectrum(signal, frontend.num_frames(samples))
    energies = power @ jnp.asarray(frontend.mel_filters(), dtype)  # (batch, frames, 80)
    means, deviations = (jnp.asarray(a, dtype) for a in frontend.normalization())
    features = (jnp.log(jnp.maximum(energies, frontend.FLOOR)) - means) / deviations
    num_frames = (lengths - frontend.FRAME) // frontend.HOP + 1
    is_frame = jnp.arange(features.shape[1]) < num_frames[:, None]
    return jnp.where(is_frame[..., None], features, 0), 1 - is_frame.astype(dtype)


def _power_spectrum(signal: jax.Array, num_frames: int) -> jax.Array:
    """The power of each frequency in each frame of ``signal``, (batch, samples).

    Returns:
      (batch, frames, FFT_SIZE / 2 + 1).
    """
    starts = jnp.arange(num_frames)[:, None] * frontend.HOP
    frames = signal[:, starts + jnp.arange(frontend.FRAME)]  # (batch, frames, FRAME)
    frames = frames * jnp.asarray(frontend.window(), signal.dtype)
    spectrum = jnp.fft.rfft(frames, frontend.FFT_SIZE)
    return jnp.square(spectrum.real) + jnp.square(spectrum.imag)


def spec_augment(
    features: jax.Array,
    paddings: jax.Array,
    rng: jax.Array,
    *,
    num_freq_masks: int = 2,
    max_freq_width: int = 27,
    num_time_masks: int = 10,
    max_time_share: float = 0.05,
) -> jax.Array:
    """Sets random bands of frequencies and spans of time to 0, the mean of the features.

    The widths of masks are uniform from 0 to the largest, inclusive, and so are their places.
    Source: Park et al., 2019, "SpecAugment: A simple data augmentation method for automatic speech
    recognition", arXiv:1904.08779, section 2; spans that grow with the utterance: Park et al.,
    2020, "SpecAugment on large scale datasets", arXiv:1912.05533, section 3.

    Args:
      features: (batch, frames, bins).
      paddings: (batch, frames), 1 for padding.
      rng: a key.
      num_freq_masks: bands an utterance.
      max_freq_width: the largest width of a band, in bins.
      num_time_masks: spans an utterance.
      max_time_share: the longest span, as a share of the utterance's own frames.

    Returns:
      The features with what is masked set to 0.
    """
    freq_rng, time_rng = jax.random.split(rng)
    batch, _, bins = features.shape
    lengths = (1 - paddings).sum(axis=1)
    every_bin, widest = jnp.full(batch, bins), jnp.full(batch, max_freq_width)
    longest = jnp.floor(lengths * max_time_share)
    is_band = _random_spans(freq_rng, num_freq_masks, bins, every_bin, widest)
    is_span = _random_spans(time_rng, num_time_masks, paddings.shape[1], lengths, longest)
    return jnp.where(is_band[:, None, :] | is_span[:, :, None], 0, features)


def _random_spans(
    rng: jax.Array, count: int, size: int, lengths: jax.Array, widest: jax.Array
) -> jax.Array:
    """Whether each place is in one of ``count`` spans, which lie in the first ``lengths`` places.

    Args:
      rng: a key.
      count: spans a row.
      size: places.
      lengths: (batch,).
      widest: the largest width of a span, (batch,).

    Returns:
      bool, (batch, size).
    """
    uniform = jax.random.uniform(rng, (2, len(lengths), count))
    widths = _up_to(widest[:, None], uniform[0])
    starts = _up_to(lengths[:, None] - widths, uniform[1])
    places = jnp.arange(size)
    starts, widths = starts[..., None], widths[..., None]  # (batch, count, 1)
    return ((places >= starts) & (places < starts + widths)).any(axis=1)


def _up_to(largest: jax.Array, uniform: jax.Array) -> jax.Array:
    """Whole numbers from 0 to ``largest``, inclusive, equally likely, from numbers in [0, 1)."""
    return jnp.minimum(jnp.floor(uniform * (largest + 1)), largest)
