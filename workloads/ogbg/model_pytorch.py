"""A graph network whose global feature predicts the tasks, in PyTorch.

Source: Battaglia et al., 2018, "Relational inductive biases, deep learning, and graph networks",
arXiv:1806.01261, section 3.2.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finishline.frameworks.pytorch.init import lecun_normal_
from finishline.frameworks.pytorch.layers import dropout
from finishline.spec import ParameterType
from workloads.ogbg.graphs import EDGE_FEATURES, NODE_FEATURES

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": functools.partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}


class Rows(NamedTuple):
    """Rows, (n, width), and the numbers of those wanted, (m,); None is all in their order."""

    x: Tensor
    numbers: Tensor | None = None


class Model(nn.Module):
    """Dense layers for the features of nodes and edges, steps of message passing, and a decoder.

    A graph's own feature is zeros at first, as many as there are tasks. Each step has perceptrons
    of its own, with dropout after each of their layers. Nothing is added to what comes from the
    step before.

    Args:
      latent_dim: width of the first features of nodes and edges.
      hidden_dims: widths of the layers of each perceptron.
      num_steps: of message passing.
      num_outputs: tasks.
      activation: 'relu', 'gelu' (its tanh approximation) or 'silu'.
    """

    output_layer = "decoder"

    def __init__(
        self,
        latent_dim: int,
        hidden_dims: Sequence[int],
        num_steps: int,
        num_outputs: int,
        activation: str = "relu",
    ):
        super().__init__()
        self.num_outputs = num_outputs
        self.node_embedder = nn.Linear(NODE_FEATURES, latent_dim)
        self.edge_embedder = nn.Linear(EDGE_FEATURES, latent_dim)
        self.steps = [f"step_{index}" for index in range(num_steps)]
        widths = (latent_dim, latent_dim, num_outputs)
        for name in self.steps:
            self.add_module(name, Step(widths, hidden_dims, activation))
            widths = (hidden_dims[-1],) * 3
        self.decoder = nn.Linear(widths[-1], num_outputs)
        self.apply(lecun_normal_)

    def forward(self, batch: Mapping[str, Tensor], *, dropout_rate: float) -> Tensor:
        """Logits, (graphs, num_outputs), of a batch with the fields of ``graphs.fields``."""
        nodes = self.node_embedder(batch["inputs"])
        edges = self.edge_embedder(batch["edges"])
        graphs = nodes.new_zeros(len(batch["targets"]), self.num_outputs)
        for name in self.steps:
            step = self.get_submodule(name)
            nodes, edges, graphs = step(batch, nodes, edges, graphs, dropout_rate)
        return self.decoder(graphs)  # (graphs, num_outputs)


class Step(nn.Module):
    """One step: new features of edges, of nodes from their edges, of graphs from both.

    Args:
      widths: of the features of nodes, edges and graphs.
      hidden_dims: those of ``Model``.
      activation: that of ``Model``.
    """

    def __init__(self, widths: tuple[int, int, int], hidden_dims: Sequence[int], activation: str):
        super().__init__()
        node, edge, graph = widths
        new = hidden_dims[-1]
        self.edge = Perceptron([edge, node, node, graph], hidden_dims, activation)
        self.node = Perceptron([node, new, new, graph], hidden_dims, activation)
        self.graph = Perceptron([2 * new, graph], hidden_dims, activation)

    def forward(
        self,
        batch: Mapping[str, Tensor],
        nodes: Tensor,
        edges: Tensor,
        graphs: Tensor,
        dropout_rate: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """New features of (nodes, width), (edges, width) and (graphs, width)."""
        senders, receivers = batch["senders"], batch["receivers"]
        edges = self.edge(
            Rows(edges),
            Rows(nodes, senders),
            Rows(nodes, receivers),
            Rows(graphs, batch["graph_of_edge"]),
            dropout_rate=dropout_rate,
        )
        sent = segment_sum(edges, senders, len(nodes))
        received = segment_sum(edges, receivers, len(nodes))
        nodes = self.node(
            Rows(nodes),
            Rows(sent),
            Rows(received),
            Rows(graphs, batch["graph_of_node"]),
            dropout_rate=dropout_rate,
        )
        # Each edge is sent by a node of its graph, and there are fewer nodes than edges.
        both = torch.cat([nodes, sent], dim=1)
        sums = segment_sum(both, batch["graph_of_node"], len(graphs))
        graphs = self.graph(Rows(sums), Rows(graphs), dropout_rate=dropout_rate)
        return nodes, edges, graphs


class Perceptron(nn.Module):
    """Dense layers, each with layer norm, activation and dropout.

    Args:
      widths: of the inputs.
      hidden_dims: those of ``Model``.
      activation: that of ``Model``.
    """

    def __init__(self, widths: Sequence[int], hidden_dims: Sequence[int], activation: str):
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.num_layers = len(hidden_dims)
        self.dense_0 = RowsLinear(widths, hidden_dims[0])
        for index, (fan_in, width) in enumerate(pairwise(hidden_dims), 1):
            self.add_module(f"dense_{index}", nn.Linear(fan_in, width))
        for index, width in enumerate(hidden_dims):
            self.add_module(f"norm_{index}", nn.LayerNorm(width, eps=1e-6))

    def forward(self, *inputs: Rows, dropout_rate: float) -> Tensor:
        """(rows, hidden_dims[-1]) of the inputs beside each other."""
        x = self.dense_0(*inputs)
        for index in range(self.num_layers):
            if index > 0:
                x = self.get_submodule(f"dense_{index}")(x)
            x = self.get_submodule(f"norm_{index}")(x)
            x = dropout(self.activation(x), dropout_rate, self.training)
        return x


class RowsLinear(nn.Linear):
    """A dense layer of inputs beside each other: sum_i (x_i W_i)[rows_i] + b.

    Nodes are multiplied before they are repeated for their edges: it is the same, and less work.

    Args:
      widths: of the inputs.
      features: width of the output.
    """

    parameter_types: ClassVar = {"weight": ParameterType.WEIGHT, "bias": ParameterType.BIAS}

    def __init__(self, widths: Sequence[int], features: int):
        super().__init__(sum(widths), features)
        self.widths = list(widths)

    def forward(self, *inputs: Rows) -> Tensor:  # type: ignore[override]
        """(rows, features)."""
        terms = [
            F.linear(x, part) if rows is None else F.linear(x, part).index_select(0, rows)
            for (x, rows), part in zip(inputs, self.weight.split(self.widths, dim=1), strict=True)
        ]
        return sum(terms[1:], terms[0]) + self.bias


def segment_sum(x: Tensor, segments: Tensor, num_segments: int) -> Tensor:
    """Sums of the rows of ``x``, (rows, width), that have the same number: (segments, width)."""
    return x.new_zeros(num_segments, x.shape[1]).index_add(0, segments, x)
