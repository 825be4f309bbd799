"""DLRM-small and its variant with residual connections, in PyTorch.

Source: Naumov et al., 2019, "Deep learning recommendation model for personalization and
recommendation systems", arXiv:1906.00091.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from finishline.frameworks.pytorch.layers import dropout
from workloads.criteo1tb.fields import NUM_CATEGORIES, NUM_NUMBERS


class Model(nn.Module):
    """A bottom perceptron for the numbers, one table for all categories, and a top perceptron.

    The top perceptron gets the bottom one's output and either the dot products between all
    vectors, embeddings and bottom output, or (``is_residual``) the embeddings themselves. Dropout
    comes after the last hidden layer; in the residual model, as in the reference, before its
    output is added.

    Args:
      vocab_size: rows of the table; categories are taken modulo this.
      embed_dim: columns of the table.
      bottom_dims: widths of the bottom layers; the last is ``embed_dim`` if vectors are multiplied.
      top_dims: widths of the hidden top layers.
      embedding_scale: the table is drawn from U[0, embedding_scale); None is
        1 / sqrt(vocab_size).
      use_layer_norm: whether a LayerNorm follows each ReLU and the table.
      is_residual: whether layers are added to their inputs, and nothing is multiplied.
    """

    output_layer = "output"
    sharded_parameters = ("embedding_table.weight",)

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        bottom_dims: Sequence[int],
        top_dims: Sequence[int],
        embedding_scale: float | None = None,
        use_layer_norm: bool = False,
        is_residual: bool = False,
    ):
        super().__init__()
        self.is_residual = is_residual
        self.vocab_size = vocab_size
        self.bottom = self._add_layers("bottom", (NUM_NUMBERS, *bottom_dims), use_layer_norm)
        self.embedding_table = nn.Embedding(
            vocab_size, embed_dim, _weight=torch.empty(vocab_size, embed_dim)
        )
        self.embedding_norm = nn.LayerNorm(embed_dim, eps=1e-6) if use_layer_norm else None
        num_vectors = 1 + NUM_CATEGORIES
        combined = (
            NUM_CATEGORIES * embed_dim if is_residual else num_vectors * (num_vectors + 1) // 2
        )
        self.top = self._add_layers("top", (bottom_dims[-1] + combined, *top_dims), use_layer_norm)
        self.output = nn.Linear(top_dims[-1], 1)
        self._init(1 / math.sqrt(vocab_size) if embedding_scale is None else embedding_scale)
        triangle = torch.triu_indices(num_vectors, num_vectors)
        pairs = triangle[0] * num_vectors + triangle[1]
        self.pairs: torch.Tensor
        self.register_buffer("pairs", pairs, persistent=False)

    def _add_layers(
        self, prefix: str, widths: Sequence[int], use_layer_norm: bool
    ) -> list[tuple[str, str | None]]:
        """Adds dense layers as submodules; their names and those of their norms."""
        names: list[tuple[str, str | None]] = []
        for index, (fan_in, width) in enumerate(pairwise(widths)):
            name = f"{prefix}_{index}"
            self.add_module(name, nn.Linear(fan_in, width))
            if use_layer_norm:
                self.add_module(f"{name}_norm", nn.LayerNorm(width, eps=1e-6))
            names.append((name, f"{name}_norm" if use_layer_norm else None))
        return names

    @torch.no_grad()
    def _init(self, embedding_scale: float) -> None:
        nn.init.uniform_(self.embedding_table.weight, 0, embedding_scale)
        for name, layer in self.named_children():
            if not isinstance(layer, nn.Linear):
                continue
            if name.startswith("bottom"):
                nn.init.xavier_uniform_(layer.weight)
            else:
                nn.init.xavier_normal_(layer.weight)
            nn.init.normal_(layer.bias, std=1 / math.sqrt(layer.out_features))

    def forward(self, batch: Mapping[str, torch.Tensor], *, dropout_rate: float) -> torch.Tensor:
        """Logits, (batch, 1), of ``inputs``, (batch, 13), and ``categories``, (batch, 26)."""
        x = batch["inputs"]
        for name, norm in self.bottom:
            x = self._hidden(name, norm, x)  # (batch, bottom_dims[i])
        vectors = self.embedding_table(batch["categories"] % self.vocab_size)  # (batch, 26, dim)
        if self.embedding_norm is not None:
            vectors = self.embedding_norm(vectors)
        # (batch, bottom_dims[-1] + 26 * dim) or (batch, bottom_dims[-1] + 378)
        combined = vectors.flatten(1) if self.is_residual else self._dot_products(x, vectors)
        x = torch.cat([x, combined], dim=1)
        for name, norm in self.top:
            rate = dropout_rate if name == self.top[-1][0] else 0.0
            x = self._hidden(name, norm, x, rate)  # (batch, top_dims[i])
        return self.output(x)  # (batch, 1)

    def _hidden(
        self, name: str, norm: str | None, x: torch.Tensor, rate: float = 0.0
    ) -> torch.Tensor:
        """A dense layer with ReLU and what the variant adds: (batch, in) to (batch, width)."""
        y = F.relu(self.get_submodule(name)(x))
        if norm is not None:
            y = self.get_submodule(norm)(y)
        y = dropout(y, rate, self.training)
        return x + y if self.is_residual and not name.endswith("_0") else y

    def _dot_products(self, bottom: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        """All products of two of the 1 + n vectors, of each with itself, too.

        (batch, dim) and (batch, n, dim) to (batch, (n + 1)(n + 2) / 2), the upper triangle by rows.
        """
        vectors = torch.cat([bottom[:, None], embedded], dim=1)  # (batch, n + 1, dim)
        products = torch.bmm(vectors, vectors.mT)  # (batch, n + 1, n + 1)
        return products.flatten(1).index_select(1, self.pairs)
