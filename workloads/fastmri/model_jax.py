"""The U-Net of fastMRI, in flax.

Sources: Ronneberger, Fischer and Brox, 2015, "U-Net: Convolutional networks for biomedical image
segmentation", arXiv:1505.04597; Zbontar et al., 2018, "fastMRI: An open dataset and benchmarks for
accelerated MRI", arXiv:1811.08839, section 6.

In AlgoPerf's two implementations dropout acts in PyTorch alone, and the transposed convolutions
start with a standard deviation that is larger by sqrt(2) in PyTorch. Here dropout acts in both, and
the transposed convolutions start as they do in JAX, where their fan-in is (channels in) x (pixels
of the kernel).
"""

import functools
from collections.abc import Callable, Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from finishline.frameworks.jax.layers import dropout

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "leaky_relu": functools.partial(nn.leaky_relu, negative_slope=0.2),
    "tanh": nn.tanh,
}


class Model(nn.Module):
    """Convolutions on ever smaller images, then on ever larger ones beside those of the way down.

    Attributes:
      num_channels: channels of the first block; each pooling doubles them.
      num_pools: how often height and width are halved.
      activation: 'leaky_relu' (slope 0.2) or 'tanh'.
      norm: of the convolutions: 'instance', over each channel of an image, or 'layer', over the
        whole image, with a scale and a bias for each channel. Transposed convolutions always have
        instance norm.
    """

    num_channels: int
    num_pools: int
    activation: Literal["leaky_relu", "tanh"] = "leaky_relu"
    norm: Literal["instance", "layer"] = "instance"

    output_layer = "output"

    @nn.compact
    def __call__(
        self, batch: Mapping[str, jax.Array], *, train: bool, dropout_rate: float | jax.Array
    ) -> jax.Array:
        """The images, (batch, height, width), from ``batch["inputs"]`` of the same shape.

        ``dropout_rate`` is the share of channels that are set to 0 after each activation of a
        ``ConvBlock``.
        """
        block = functools.partial(ConvBlock, activation=self.activation, norm=self.norm)
        x = batch["inputs"][..., None]  # (batch, height, width, 1)
        skipped = []
        for depth in range(self.num_pools):
            x = block(self.num_channels * 2**depth, name=f"down_{depth}")(
                x, train=train, dropout_rate=dropout_rate
            )
            skipped.append(x)
            x = nn.avg_pool(x, (2, 2), strides=(2, 2))  # (batch, height // 2, width // 2, channels)
        x = block(self.num_channels * 2**self.num_pools, name="bottleneck")(
            x, train=train, dropout_rate=dropout_rate
        )
        for depth in reversed(range(self.num_pools)):
            channels = self.num_channels * 2**depth
            x = UpsampleBlock(channels, self.activation, name=f"upsample_{depth}")(x)
            x = pad_like(x, skipped[depth])
            x = jnp.concatenate([x, skipped[depth]], axis=-1)  # (..., 2 * channels)
            x = block(channels, name=f"up_{depth}")(x, train=train, dropout_rate=dropout_rate)
        x = nn.Conv(1, (1, 1), name="output")(x)  # (batch, height, width, 1)
        return x.squeeze(-1)


class ConvBlock(nn.Module):
    """Twice: 3 x 3 convolution without bias, norm, activation, dropout of whole channels.

    Attributes:
      channels: of the output.
      activation: see ``Model``.
      norm: see ``Model``.
    """

    channels: int
    activation: str
    norm: str

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, dropout_rate: float | jax.Array) -> jax.Array:
        """(batch, height, width, in) to (batch, height, width, channels)."""
        for index in range(2):
            x = nn.Conv(self.channels, (3, 3), use_bias=False, name=f"conv_{index}")(x)
            x = instance_norm(x) if self.norm == "instance" else layer_norm(f"norm_{index}")(x)
            x = ACTIVATIONS[self.activation](x)
            x = dropout(self, x, dropout_rate, train=train, shared_axes=(1, 2))
        return x


class UpsampleBlock(nn.Module):
    """2 x 2 transposed convolution with stride 2 and without bias, instance norm, activation.

    Attributes:
      channels: of the output.
      activation: see ``Model``.
    """

    channels: int
    activation: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, in) to (batch, 2 * height, 2 * width, channels)."""
        x = nn.ConvTranspose(
            self.channels,
            (2, 2),
            strides=(2, 2),
            use_bias=False,
            # The kernel has PyTorch's order: height, width, out, in.
            transpose_kernel=True,
            kernel_init=nn.initializers.lecun_normal(in_axis=-1, out_axis=-2),
            name="conv",
        )(x)
        return ACTIVATIONS[self.activation](instance_norm(x))


def instance_norm(x: jax.Array) -> jax.Array:
    """Each channel of each image, (batch, height, width, channels), with mean 0 and variance 1.

    Source: Ulyanov, Vedaldi and Lempitsky, 2016, arXiv:1607.08022.
    """
    norm = nn.InstanceNorm(epsilon=1e-5, use_bias=False, use_scale=False, use_fast_variance=False)
    return norm(x)


def layer_norm(name: str) -> nn.LayerNorm:
    """Norm over height, width and channels, with a scale and a bias for each channel."""
    return nn.LayerNorm(
        epsilon=1e-6,
        reduction_axes=(1, 2, 3),
        feature_axes=-1,
        use_fast_variance=False,
        name=name,
    )


def pad_like(x: jax.Array, other: jax.Array) -> jax.Array:
    """``x`` with a last row or column mirrored in where ``other`` has one more.

    Both are (batch, height, width, channels); pooling drops the last row and column of images of
    odd size.
    """
    rows, columns = (b - a for a, b in zip(x.shape[1:3], other.shape[1:3], strict=True))
    if rows == columns == 0:
        return x
    return jnp.pad(x, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="reflect")
