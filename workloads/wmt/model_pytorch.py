"""The encoder-decoder Transformer, in PyTorch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finishline.frameworks.pytorch.attention import MultiHeadAttention
from finishline.frameworks.pytorch.layers import dropout
from workloads.wmt.beam_search_pytorch import beam_search
from workloads.wmt.shape import BEAM_SIZE, PAD_ID, BlockShape, position_embedding

Batch = Mapping[str, Tensor]
KeysAndValues = tuple[Tensor, Tensor]

_ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "tanh": torch.tanh}


def layer_norm(width: int) -> nn.LayerNorm:
    """Layer norm over the features with the epsilon of all models here."""
    return nn.LayerNorm(width, eps=1e-6)


def attention(shape: BlockShape) -> MultiHeadAttention:
    """One of a block's attentions."""
    return MultiHeadAttention(
        shape.width, shape.num_heads, use_bias=False, query_scale=shape.query_scale
    )


def dense(in_width: int, out_width: int) -> nn.Linear:
    """A dense layer of an ``MLP``: uniform weights after Glorot, biases near 0."""
    layer = nn.Linear(in_width, out_width)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.normal_(layer.bias, std=1e-6)
    return layer


class MLP(nn.Module):
    """Two dense layers on each token; for the options see ``BlockShape``."""

    def __init__(self, shape: BlockShape):
        """Makes and initialises the layers."""
        super().__init__()
        self.activation = _ACTIVATIONS[shape.activation]
        self.hidden = dense(shape.width, shape.mlp_width)
        self.gate = dense(shape.width, shape.mlp_width) if shape.is_gated else None
        self.out = dense(shape.mlp_width, shape.width)

    def forward(self, x: Tensor, dropout_rate: float) -> Tensor:
        """(batch, tokens, width) to the same."""
        hidden = self.activation(self.hidden(x))  # (batch, tokens, mlp_width)
        if self.gate is not None:
            hidden = hidden * self.gate(x)
        return self.out(dropout(hidden, dropout_rate, self.training))


class Block(nn.Module):
    """What the blocks of encoder and decoder share."""

    def __init__(self, shape: BlockShape):
        """Makes and initialises the layers."""
        super().__init__()
        self.is_post_norm = shape.is_post_norm
        self.mlp = MLP(shape)
        self.mlp_norm = layer_norm(shape.width)

    def add(
        self, x: Tensor, norm: nn.Module, layer: Callable[[Tensor], Tensor], dropout_rate: float
    ) -> Tensor:
        """``x`` and what ``layer`` makes of it, with dropout and layer norm where they belong."""
        y = layer(x if self.is_post_norm else norm(x))
        x = x + dropout(y, dropout_rate, self.training)
        return norm(x) if self.is_post_norm else x

    def add_mlp(self, x: Tensor, dropout_rate: float) -> Tensor:
        """``x`` and what the MLP makes of it."""
        return self.add(x, self.mlp_norm, lambda x: self.mlp(x, dropout_rate), dropout_rate)


class EncoderBlock(Block):
    """Attention among the tokens of the source, then an MLP on each."""

    def __init__(self, shape: BlockShape):
        """Makes and initialises the layers."""
        super().__init__(shape)
        self.attention = attention(shape)
        self.attention_norm = layer_norm(shape.width)

    def forward(self, x: Tensor, mask: Tensor, dropout_rate: float) -> Tensor:
        """(batch, tokens, width) to the same."""
        x = self.add(
            x,
            self.attention_norm,
            lambda x: self.attention(x, mask=mask, dropout_rate=dropout_rate),
            dropout_rate,
        )
        return self.add_mlp(x, dropout_rate)


class DecoderBlock(Block):
    """Attention among the tokens of the target, attention to the source, then an MLP on each."""

    def __init__(self, shape: BlockShape):
        """Makes and initialises the layers."""
        super().__init__(shape)
        self.self_attention = attention(shape)
        self.self_attention_norm = layer_norm(shape.width)
        self.cross_attention = attention(shape)
        self.cross_attention_norm = layer_norm(shape.width)

    def forward(
        self, x: Tensor, encoded: Tensor, mask: Tensor, cross_mask: Tensor, dropout_rate: float
    ) -> Tensor:
        """(batch, tokens, width) to the same."""
        x = self.add(
            x,
            self.self_attention_norm,
            lambda x: self.self_attention(x, mask=mask, dropout_rate=dropout_rate),
            dropout_rate,
        )
        memory = self.cross_attention.keys_and_values(encoded)
        return self._attend_across(x, memory, cross_mask, dropout_rate)

    def step(
        self, x: Tensor, index: int, cache: KeysAndValues, memory: KeysAndValues, mask: Tensor
    ) -> Tensor:
        """One token more for each beam, without dropout.

        Args:
          x: the token at position ``index``, (batch, beams, width).
          index: number of the tokens before.
          cache: their keys and values, each (max_length, batch * beams, heads, head width); those
            of this token are added.
          memory: those of the source, each (batch, heads, keys, head width).
          mask: of the source, (batch, 1, 1, keys).

        Returns:
          Of the shape of ``x``.
        """

        def attend(x: Tensor) -> Tensor:
            one = x.flatten(end_dim=1)[:, None]  # (batch * beams, 1, width)
            for kept, part in zip(cache, self.self_attention.keys_and_values(one), strict=True):
                kept[index] = part[:, :, 0]
            keys, values = (kept[: index + 1].permute(1, 2, 0, 3) for kept in cache)
            return self.self_attention.attend(one, keys, values).view(x.shape)

        x = self.add(x, self.self_attention_norm, attend, 0.0)
        return self._attend_across(x, memory, mask, 0.0)

    def _attend_across(
        self, x: Tensor, memory: KeysAndValues, mask: Tensor, dropout_rate: float
    ) -> Tensor:
        x = self.add(
            x,
            self.cross_attention_norm,
            lambda x: self.cross_attention.attend(x, *memory, mask=mask, dropout_rate=dropout_rate),
            dropout_rate,
        )
        return self.add_mlp(x, dropout_rate)


class Model(nn.Module):
    """The Transformer of Vaswani et al., 2017, arXiv:1706.03762, with layer norm before the
    layers, and one embedding of source, target and output.

    For segments, the shift of the target and the places of dropout see ``model_jax``.
    """

    output_layer = "shared_embedding"

    def __init__(
        self,
        vocab_size: int,
        width: int,
        depth: int,
        mlp_width: int,
        num_heads: int,
        max_length: int,
        activation: str = "relu",
        is_gated: bool = False,
        is_post_norm: bool = False,
        query_scale: float = 1.0,
        shifts_rows: bool = False,
    ):
        """Makes and initialises the layers; for the arguments see ``model_jax``."""
        super().__init__()
        self.depth = depth
        self.max_length = max_length
        self.shifts_rows = shifts_rows
        shape = BlockShape(
            width, mlp_width, num_heads, activation, is_gated, is_post_norm, query_scale
        )
        self.shared_embedding = nn.Embedding(vocab_size, width)  # initially N(0, 1)
        for index in range(depth):
            self.add_module(f"encoder_{index}", EncoderBlock(shape))
            self.add_module(f"decoder_{index}", DecoderBlock(shape))
        self.encoder_norm = nn.Identity() if is_post_norm else layer_norm(width)
        self.decoder_norm = nn.Identity() if is_post_norm else layer_norm(width)
        positions = torch.from_numpy(position_embedding(max_length, width))
        self.positions: Tensor  # (max_length, width)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, batch: Batch, *, dropout_rate: float) -> Tensor:
        """Logits of the targets' tokens, each from those before: (batch, length, vocab_size)."""
        encoded = self._encode(batch, dropout_rate)
        position, segment = batch["targets_position"], batch["targets_segmentation"]
        previous = F.pad(batch["targets"], (1, 0), value=PAD_ID)[:, :-1]
        if not self.shifts_rows:
            previous = previous.masked_fill(position == 0, PAD_ID)
        x = dropout(self._embed(previous, position), dropout_rate, self.training)
        is_past = torch.ones(2 * x.shape[1:2], dtype=torch.bool, device=x.device).tril()
        mask = _same_segment(segment, segment) & is_past  # (batch, 1, length, length)
        cross_mask = _same_segment(segment, batch["inputs_segmentation"])
        for block in self._blocks("decoder"):
            x = block(x, encoded, mask, cross_mask, dropout_rate)
        return self._logits(x)

    def translate(self, batch: Batch, beam_size: int) -> Tensor:
        """The translations of sources, one a row: (batch, max_length); see ``beam_search``.

        To be called in evaluation mode and without gradients.

        Args:
          batch: has ``inputs``, ``inputs_position`` and ``inputs_segmentation``.
          beam_size: number of beams.
        """
        encoded = self._encode(batch, 0.0)
        mask = (batch["inputs_segmentation"] > 0)[:, None, None]
        blocks = self._blocks("decoder")
        memory = [block.cross_attention.keys_and_values(encoded) for block in blocks]
        # (batch, heads, keys, head width)
        batch_size, num_heads, _, head_width = memory[0][0].shape
        size = (self.max_length, batch_size * beam_size, num_heads, head_width)
        cache = [encoded.new_zeros(size) for _ in range(2 * self.depth)]

        def step(tokens: Tensor, index: int, cache: Sequence[Tensor]) -> Tensor:
            x = self._embed(tokens, index)
            pairs = zip(cache[::2], cache[1::2], strict=True)
            for block, kept, source in zip(blocks, pairs, memory, strict=True):
                x = block.step(x, index, kept, source, mask)
            return self._logits(x)

        return beam_search(
            step, cache, batch_size=batch_size, beam_size=beam_size, max_length=self.max_length
        )

    def _encode(self, batch: Batch, dropout_rate: float) -> Tensor:
        """The sources, (batch, length, width)."""
        segment = batch["inputs_segmentation"]
        x = self._embed(batch["inputs"], batch["inputs_position"])
        x = dropout(x, dropout_rate, self.training)
        mask = _same_segment(segment, segment)
        for block in self._blocks("encoder"):
            x = block(x, mask, dropout_rate)
        return self.encoder_norm(x)

    def _blocks(self, part: str) -> list[Any]:
        return [getattr(self, f"{part}_{index}") for index in range(self.depth)]

    def _embed(self, tokens: Tensor, position: Tensor | int) -> Tensor:
        return self.shared_embedding(tokens) + self.positions[position]

    def _logits(self, x: Tensor) -> Tensor:
        x = self.decoder_norm(x)
        return F.linear(x, self.shared_embedding.weight) / x.shape[-1] ** 0.5


def predict(model: Model, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
    """``tokens``: the translations of a batch, (batch, max_length), by beam search."""
    del logits  # of the true translation
    return {"tokens": model.translate(batch, BEAM_SIZE)}


def _same_segment(queries: Tensor, keys: Tensor) -> Tensor:
    """Where both are of one segment: (batch, queries) and (batch, keys) to (batch, 1, ...)."""
    return (queries[:, :, None] == keys[:, None])[:, None]
