"""What the speech models have in common, in flax. ``layers_pytorch`` is the twin."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from finishline.frameworks.jax.ctc import greedy_decode
from finishline.spec import ParameterType
from workloads.librispeech import features_jax
from workloads.librispeech.position import frequencies

xavier_uniform = nn.initializers.xavier_uniform()


def dense(width: int, name: str) -> nn.Dense:
    """A dense layer: uniform weights after Glorot, biases 0."""
    return nn.Dense(width, kernel_init=xavier_uniform, name=name)


class LayerNorm(nn.Module):
    """Layer norm over the features; the scale is kept as its difference from 1."""

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {
        "scale": ParameterType.LAYER_NORM_SCALE,
        "bias": ParameterType.LAYER_NORM_BIAS,
    }

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., width) to the same."""
        scale = self.param("scale", nn.initializers.zeros, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = jnp.square(centred).mean(axis=-1, keepdims=True)
        return centred * jax.lax.rsqrt(variance + 1e-6) * (1 + scale) + bias


@dataclasses.dataclass(frozen=True)
class SpecAugment:
    """How many masks SpecAugment draws for an utterance, and how wide they may be."""

    num_freq_masks: int
    max_freq_width: int
    num_time_masks: int
    max_time_share: float


def features(
    module: nn.Module, batch: Mapping[str, jax.Array], masks: SpecAugment, *, train: bool
) -> tuple[jax.Array, jax.Array]:
    """Normalised log-mel features of a batch of audio, masked at random in training.

    Args:
      module: whose random stream 'dropout' is used.
      batch: ``inputs``, (batch, samples), and ``input_lengths``, (batch,).
      masks: of SpecAugment; without any no random bits are drawn.
      train: False leaves the features as they are.

    Returns:
      (batch, frames, bins) and paddings, (batch, frames): 1 for a frame of padding.
    """
    x, paddings = features_jax.log_mel(batch["inputs"], batch["input_lengths"])
    if train and masks.num_freq_masks + masks.num_time_masks > 0:
        rng = module.make_rng("dropout")
        x = features_jax.spec_augment(x, paddings, rng, **dataclasses.asdict(masks))
    return x, paddings


class Subsampling(nn.Module):
    """Two 3 x 3 convolutions with stride 2, then a dense layer: a quarter of the frames is left.

    Frame t after a convolution counts if frame 2 t before it does, and frames of padding are set to
    0, so the result does not depend on their number. The first convolution sees the frames 2 t to
    2 t + 2, the second 2 t - 1 to 2 t + 1: so do those of AlgoPerf on utterances of 1,998 frames,
    which is the length that they are all padded to there.

    Attributes:
      conv_width: channels of the convolutions.
      width: features of a frame.
      activate: the nonlinearity after each convolution.
    """

    conv_width: int
    width: int
    activate: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array, paddings: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(batch, frames, bins) to (batch, frames / 4, width), with paddings for each."""
        x = x[..., None]  # (batch, frames, bins, 1)
        for index in range(2):
            before = index
            after = 1 if index else 1 + x.shape[1] % 2
            x = nn.Conv(
                self.conv_width,
                (3, 3),
                strides=(2, 2),
                padding=((before, after), (0, 1)),
                kernel_init=xavier_uniform,
                name=f"conv_{index}",
            )(x)
            paddings = paddings[:, ::2]
            x = self.activate(x) * (1 - paddings)[..., None, None]
        x = x.reshape(*x.shape[:2], -1)  # (batch, frames / 4, bins / 4 * conv_width)
        return dense(self.width, "out")(x), paddings


def positions(length: int, width: int) -> jax.Array:
    """The position embedding of each frame: (length, width)."""
    angles = jnp.arange(length)[:, None] * frequencies(width)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def predict(
    model: nn.Module,
    variables: Any,
    batch: Mapping[str, jax.Array],
    logits: tuple[jax.Array, jax.Array],
) -> dict[str, jax.Array]:
    """The likeliest token of each frame, merged: ``tokens``, (batch, frames), 0 at the end."""
    del model, variables, batch
    return {"tokens": greedy_decode(logits)}
