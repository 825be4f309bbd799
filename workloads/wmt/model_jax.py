"""The encoder-decoder Transformer, in flax."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from finishline.frameworks.jax.attention import MultiHeadAttention
from finishline.frameworks.jax.layers import dropout
from workloads.wmt.beam_search_jax import beam_search
from workloads.wmt.shape import BEAM_SIZE, PAD_ID, BlockShape, position_embedding

Array = jax.Array
Batch = Mapping[str, Array]
Rate = float | Array
KeysAndValues = tuple[Array, Array]

_ACTIVATIONS = {"relu": nn.relu, "tanh": jnp.tanh}


def layer_norm() -> nn.LayerNorm:
    """Layer norm over the features with the epsilon of all models here."""
    return nn.LayerNorm(epsilon=1e-6, use_fast_variance=False)


def attention(shape: BlockShape) -> MultiHeadAttention:
    """One of a block's attentions."""
    return MultiHeadAttention(
        shape.width, shape.num_heads, use_bias=False, query_scale=shape.query_scale
    )


class MLP(nn.Module):
    """Two dense layers on each token; for the options see ``BlockShape``."""

    shape: BlockShape

    @nn.compact
    def __call__(self, x: Array, *, train: bool, dropout_rate: Rate) -> Array:
        """(batch, tokens, width) to the same."""
        shape = self.shape
        hidden = _ACTIVATIONS[shape.activation](self._dense(shape.mlp_width, "hidden")(x))
        if shape.is_gated:
            hidden = hidden * self._dense(shape.mlp_width, "gate")(x)
        hidden = dropout(self, hidden, dropout_rate, train=train)
        return self._dense(shape.width, "out")(hidden)

    def _dense(self, width: int, name: str) -> nn.Dense:
        return nn.Dense(
            width,
            kernel_init=nn.initializers.xavier_uniform(),
            bias_init=nn.initializers.normal(1e-6),
            name=name,
        )


class Block(nn.Module):
    """What the blocks of encoder and decoder share."""

    shape: BlockShape

    def add(
        self,
        x: Array,
        norm: nn.LayerNorm,
        layer: Callable[[Array], Array],
        *,
        train: bool,
        dropout_rate: Rate,
    ) -> Array:
        """``x`` and what ``layer`` makes of it, with dropout and layer norm where they belong."""
        y = layer(x if self.shape.is_post_norm else norm(x))
        x = x + dropout(self, y, dropout_rate, train=train)
        return norm(x) if self.shape.is_post_norm else x


class EncoderBlock(Block):
    """Attention among the tokens of the source, then an MLP on each."""

    def setup(self) -> None:
        """Makes the layers."""
        self.attention, self.attention_norm = attention(self.shape), layer_norm()
        self.mlp, self.mlp_norm = MLP(self.shape), layer_norm()

    def __call__(self, x: Array, mask: Array, **options: Any) -> Array:
        """(batch, tokens, width) to the same; ``options`` are ``train`` and ``dropout_rate``."""
        x = self.add(
            x, self.attention_norm, lambda x: self.attention(x, mask=mask, **options), **options
        )
        return self.add(x, self.mlp_norm, lambda x: self.mlp(x, **options), **options)


class DecoderBlock(Block):
    """Attention among the tokens of the target, attention to the source, then an MLP on each."""

    def setup(self) -> None:
        """Makes the layers."""
        self.self_attention, self.self_attention_norm = attention(self.shape), layer_norm()
        self.cross_attention, self.cross_attention_norm = attention(self.shape), layer_norm()
        self.mlp, self.mlp_norm = MLP(self.shape), layer_norm()

    def __call__(
        self, x: Array, encoded: Array, mask: Array, cross_mask: Array, **options: Any
    ) -> Array:
        """(batch, tokens, width) to the same; for ``options`` see ``EncoderBlock``."""
        x = self.add(
            x,
            self.self_attention_norm,
            lambda x: self.self_attention(x, mask=mask, **options),
            **options,
        )
        memory = self.cross_attention.keys_and_values(encoded)
        return self._attend_across(x, memory, cross_mask, **options)

    def step(
        self, x: Array, index: Array, cache: KeysAndValues, memory: KeysAndValues, mask: Array
    ) -> tuple[Array, KeysAndValues]:
        """One token more for each beam, without dropout.

        Args:
          x: the token at position ``index``, (batch, beams, width).
          index: ().
          cache: keys and values of the tokens before, each (batch, beams, max_length, heads, head
            width).
          memory: those of the source, each (batch, keys, heads, head width).
          mask: of the source, (batch, 1, 1, keys).

        Returns:
          Of the shape of ``x``, and the cache with this token.
        """

        def attend(x: Array) -> Array:
            nonlocal cache
            one = x.reshape(-1, 1, x.shape[-1])  # (batch * beams, 1, width)
            new = self.self_attention.keys_and_values(one)
            keys, values = (
                kept.at[:, :, index].set(part.reshape(*x.shape[:2], *part.shape[2:]))
                for kept, part in zip(cache, new, strict=True)
            )
            cache = keys, values
            keys, values = (kept.reshape(-1, *kept.shape[2:]) for kept in cache)
            is_past = (jnp.arange(keys.shape[1]) <= index)[None, None, None]
            return self.self_attention.attend(one, keys, values, mask=is_past).reshape(x.shape)

        options: dict[str, Any] = {"train": False, "dropout_rate": 0.0}
        x = self.add(x, self.self_attention_norm, attend, **options)
        return self._attend_across(x, memory, mask, **options), cache

    def _attend_across(self, x: Array, memory: KeysAndValues, mask: Array, **options: Any) -> Array:
        x = self.add(
            x,
            self.cross_attention_norm,
            lambda x: self.cross_attention.attend(x, *memory, mask=mask, **options),
            **options,
        )
        return self.add(x, self.mlp_norm, lambda x: self.mlp(x, **options), **options)


class Model(nn.Module):
    """The Transformer of Vaswani et al., 2017, arXiv:1706.03762, with layer norm before the
    layers, and one embedding of source, target and output.

    Several pairs of sentences may lie in one row, its segments; a token attends to those of its
    own segment alone. The decoder's input is the target, shifted by one within each segment: the
    first is padding.

    Dropout is where the paper has it (section 5.4) and on the attention probabilities and the
    hidden features of the MLPs, as in Tensor2Tensor. Of the reference implementation's two
    frameworks, only one drops attention probabilities since version 0.6; before, both did.

    Attributes:
      vocab_size: number of pieces; 0 is padding.
      width: features of a token.
      depth: number of blocks of the encoder, and of the decoder.
      mlp_width: hidden features of the MLPs.
      num_heads: heads of each attention.
      max_length: most tokens of a row, and of a translation.
      activation: see ``BlockShape``.
      is_gated: see ``BlockShape``.
      is_post_norm: see ``BlockShape``; there is no layer norm after the last blocks then.
      query_scale: see ``BlockShape``.
      shifts_rows: whether the target is shifted as a row, so that the second segment begins with
        the end of the first. It is how the published targets were set.
    """

    vocab_size: int
    width: int
    depth: int
    mlp_width: int
    num_heads: int
    max_length: int
    activation: str = "relu"
    is_gated: bool = False
    is_post_norm: bool = False
    query_scale: float = 1.0
    shifts_rows: bool = False

    output_layer = "shared_embedding"

    def setup(self) -> None:
        """Makes the layers."""
        shape = BlockShape(
            self.width,
            self.mlp_width,
            self.num_heads,
            self.activation,
            self.is_gated,
            self.is_post_norm,
            self.query_scale,
        )
        self.shared_embedding = nn.Embed(
            self.vocab_size, self.width, embedding_init=nn.initializers.normal(1.0)
        )
        self.encoder = [EncoderBlock(shape) for _ in range(self.depth)]
        self.decoder = [DecoderBlock(shape) for _ in range(self.depth)]
        if not self.is_post_norm:
            self.encoder_norm, self.decoder_norm = layer_norm(), layer_norm()

    def __call__(self, batch: Batch, *, train: bool, dropout_rate: Rate) -> Array:
        """Logits of the targets' tokens, each from those before: (batch, length, vocab_size)."""
        options = {"train": train, "dropout_rate": dropout_rate}
        encoded = self._encode(batch, **options)
        position, segment = batch["targets_position"], batch["targets_segmentation"]
        previous = jnp.pad(batch["targets"], ((0, 0), (1, 0)))[:, :-1]
        if not self.shifts_rows:
            previous = jnp.where(position == 0, PAD_ID, previous)
        x = dropout(self, self._embed(previous, position), dropout_rate, train=train)
        is_past = jnp.tri(x.shape[1], dtype=bool)
        mask = _same_segment(segment, segment) & is_past  # (batch, 1, length, length)
        cross_mask = _same_segment(segment, batch["inputs_segmentation"])
        for block in self.decoder:
            x = block(x, encoded, mask, cross_mask, **options)
        return self._logits(x)

    def translate(self, batch: Batch, beam_size: int) -> Array:
        """The translations of sources, one a row: (batch, max_length); see ``beam_search``.

        Args:
          batch: has ``inputs``, ``inputs_position`` and ``inputs_segmentation``.
          beam_size: number of beams.
        """
        encoded = self._encode(batch, train=False, dropout_rate=0.0)
        mask = (batch["inputs_segmentation"] > 0)[:, None, None]
        memory = [block.cross_attention.keys_and_values(encoded) for block in self.decoder]
        head_width = self.width // self.num_heads
        size = (len(encoded), beam_size, self.max_length, self.num_heads, head_width)
        zeros = jnp.zeros(size, encoded.dtype)
        model, variables = self.unbind()

        def step(tokens: Array, index: Array, cache: Any) -> tuple[Array, Any]:
            return model.apply(
                variables, tokens, index, cache, memory, mask, method=Model.decode_step
            )

        return beam_search(
            step,
            [(zeros, zeros)] * self.depth,
            batch_size=len(encoded),
            beam_size=beam_size,
            max_length=self.max_length,
        )

    def decode_step(
        self,
        tokens: Array,
        index: Array,
        cache: list[KeysAndValues],
        memory: list[KeysAndValues],
        mask: Array,
    ) -> tuple[Array, list[KeysAndValues]]:
        """Logits of the token after ``tokens``, (batch, beams); see ``DecoderBlock.step``."""
        x = self._embed(tokens, index)
        caches = []
        for block, kept, source in zip(self.decoder, cache, memory, strict=True):
            x, kept = block.step(x, index, kept, source, mask)
            caches.append(kept)
        return self._logits(x), caches

    def _encode(self, batch: Batch, **options: Any) -> Array:
        """The sources, (batch, length, width)."""
        segment = batch["inputs_segmentation"]
        x = self._embed(batch["inputs"], batch["inputs_position"])
        x = dropout(self, x, options["dropout_rate"], train=options["train"])
        mask = _same_segment(segment, segment)
        for block in self.encoder:
            x = block(x, mask, **options)
        return x if self.is_post_norm else self.encoder_norm(x)

    def _embed(self, tokens: Array, position: Array) -> Array:
        x = self.shared_embedding(tokens)
        return x + jnp.asarray(position_embedding(self.max_length, self.width), x.dtype)[position]

    def _logits(self, x: Array) -> Array:
        x = x if self.is_post_norm else self.decoder_norm(x)
        return self.shared_embedding.attend(x) / self.width**0.5


def predict(
    model: Model, variables: Mapping[str, Any], batch: Batch, logits: Array
) -> dict[str, Array]:
    """``tokens``: the translations of a batch, (batch, max_length), by beam search."""
    del logits  # of the true translation
    tokens: Any = model.apply(variables, batch, BEAM_SIZE, method=Model.translate)
    return {"tokens": tokens}


def _same_segment(queries: Array, keys: Array) -> Array:
    """Where both are of one segment: (batch, queries) and (batch, keys) to (batch, 1, ...)."""
    return (queries[:, :, None] == keys[:, None])[:, None]
