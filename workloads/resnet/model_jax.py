"""Residual networks with batch norm, in flax.

The blocks are those of He et al., 2015, "Deep Residual Learning for Image Recognition",
arXiv:1512.03385, with the stride of a bottleneck block in its 3 x 3 convolution (known as v1.5).
The last scale of each block starts at a value of its own, 0 by default, so that blocks begin as the
identity: Goyal et al., 2017, arXiv:1706.02677, section 5.1.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Literal

import jax
from flax import linen as nn

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "silu": nn.silu,
    "gelu": functools.partial(nn.gelu, approximate=True),  # by tanh
}
BOTTLENECK_EXPANSION = 4


class Model(nn.Module):
    """A stem, four stages of residual blocks, average over space, one linear layer.

    Attributes:
      stage_sizes: blocks by stage. Stages but the first halve height and width.
      width: channels of the stem and of the first stage; each stage has twice those of the one
        before. Bottleneck blocks put out four times as many.
      num_classes: number of logits.
      block: 'bottleneck' (1 x 1, 3 x 3, 1 x 1) or 'basic' (3 x 3, 3 x 3).
      stem: 'imagenet' (7 x 7 with stride 2, then max pooling with stride 2) or 'cifar' (3 x 3).
      activation: 'relu', 'silu' or 'gelu' (with tanh).
      bn_init_scale: initial scale of the last batch norm of each block.
      same_padding: whether 3 x 3 convolutions with stride 2 pad as flax's 'SAME' does: an even
        height or width with 0 before and 1 after, where others pad with 1 on both sides. It is
        what the published targets were set with in JAX; PyTorch had the symmetric padding.
    """

    stage_sizes: tuple[int, int, int, int]
    width: int
    num_classes: int
    block: Literal["bottleneck", "basic"]
    stem: Literal["imagenet", "cifar"]
    activation: str = "relu"
    bn_init_scale: float = 0.0
    same_padding: bool = False

    output_layer = "output"

    @nn.compact
    def __call__(
        self, batch: Mapping[str, jax.Array], *, train: bool, dropout_rate: float | jax.Array
    ) -> jax.Array:
        """Logits, (batch, num_classes), of ``batch["inputs"]``, (batch, height, width, 3)."""
        del dropout_rate  # there is no dropout
        x = batch["inputs"]
        is_imagenet = self.stem == "imagenet"
        x = conv(self.width, 7 if is_imagenet else 3, 2 if is_imagenet else 1, name="stem_conv")(x)
        x = batch_norm("stem_norm", train)(x)
        x = ACTIVATIONS[self.activation](x)
        if is_imagenet:
            # (batch, height / 4, width / 4, self.width)
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for stage, num_blocks in enumerate(self.stage_sizes):
            x = Stage(
                num_blocks=num_blocks,
                width=self.width * 2**stage,
                stride=1 if stage == 0 else 2,
                block=self.block,
                activation=self.activation,
                bn_init_scale=self.bn_init_scale,
                same_padding=self.same_padding,
                name=f"stage_{stage}",
            )(x, train=train)
        x = x.mean(axis=(1, 2))  # (batch, channels of the last stage)
        initial = nn.initializers.normal(0.01)
        return nn.Dense(self.num_classes, kernel_init=initial, name="output")(x)


class Stage(nn.Module):
    """Residual blocks of one width; the attributes are those of the blocks and of ``Model``."""

    num_blocks: int
    width: int
    stride: int
    block: Literal["bottleneck", "basic"]
    activation: str
    bn_init_scale: float
    same_padding: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(batch, height, width, in) to (batch, height / stride, width / stride, out)."""
        block = BottleneckBlock if self.block == "bottleneck" else BasicBlock
        for index in range(self.num_blocks):
            x = block(
                width=self.width,
                stride=self.stride if index == 0 else 1,
                activation=self.activation,
                bn_init_scale=self.bn_init_scale,
                same_padding=self.same_padding,
                name=f"block_{index}",
            )(x, train=train)
        return x


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut.

    Attributes:
      width: channels of each convolution.
      stride: of the first convolution.
      activation: name of the nonlinearity.
      bn_init_scale: initial scale of the last batch norm.
      same_padding: see ``Model``.
    """

    width: int
    stride: int
    activation: str
    bn_init_scale: float
    same_padding: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(batch, height, width, in) to (batch, height / stride, width / stride, out)."""
        activate = ACTIVATIONS[self.activation]
        y = conv(self.width, 3, self.stride, same_padding=self.same_padding, name="conv_0")(x)
        y = activate(batch_norm("norm_0", train)(y))
        y = conv(self.width, 3, name="conv_1")(y)
        y = batch_norm("norm_1", train, scale=self.bn_init_scale)(y)
        return activate(shortcut(x, self.width, self.stride, train) + y)


class BottleneckBlock(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut.

    Attributes:
      width: channels of the first two convolutions; the last one has four times as many.
      stride: of the 3 x 3 convolution.
      activation: name of the nonlinearity.
      bn_init_scale: initial scale of the last batch norm.
      same_padding: see ``Model``.
    """

    width: int
    stride: int
    activation: str
    bn_init_scale: float
    same_padding: bool

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(batch, height, width, in) to (batch, height / stride, width / stride, out)."""
        activate = ACTIVATIONS[self.activation]
        width_out = BOTTLENECK_EXPANSION * self.width
        y = conv(self.width, 1, name="conv_0")(x)
        y = activate(batch_norm("norm_0", train)(y))
        y = conv(self.width, 3, self.stride, same_padding=self.same_padding, name="conv_1")(y)
        y = activate(batch_norm("norm_1", train)(y))
        y = conv(width_out, 1, name="conv_2")(y)
        y = batch_norm("norm_2", train, scale=self.bn_init_scale)(y)
        return activate(shortcut(x, width_out, self.stride, train) + y)


def shortcut(x: jax.Array, width: int, stride: int, train: bool) -> jax.Array:
    """``x`` itself if the block keeps its shape, else a 1 x 1 convolution with batch norm."""
    if stride == 1 and x.shape[-1] == width:
        return x
    return batch_norm("shortcut_norm", train)(conv(width, 1, stride, name="shortcut_conv")(x))


def conv(
    width: int, kernel: int, stride: int = 1, *, same_padding: bool = False, name: str
) -> nn.Conv:
    """A square convolution without bias, with padding by half the kernel or flax's 'SAME'."""
    pad = (kernel // 2, kernel // 2)
    return nn.Conv(
        width,
        (kernel, kernel),
        strides=(stride, stride),
        padding="SAME" if same_padding else (pad, pad),
        use_bias=False,
        name=name,
    )


def batch_norm(name: str, train: bool, scale: float = 1.0) -> nn.BatchNorm:
    """Batch norm whose scale starts at ``scale``."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        use_fast_variance=False,
        scale_init=nn.initializers.constant(scale),
        name=name,
    )
