"""A graph network whose global feature predicts the tasks, in flax.

Source: Battaglia et al., 2018, "Relational inductive biases, deep learning, and graph networks",
arXiv:1806.01261, section 3.2.
"""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from finishline.frameworks.jax.layers import dropout
from finishline.spec import ParameterType

ACTIVATIONS = {"relu": nn.relu, "gelu": nn.gelu, "silu": nn.silu}


class Rows(NamedTuple):
    """Rows, (n, width), and the numbers of those wanted, (m,); None is all in their order."""

    x: jax.Array
    numbers: jax.Array | None = None


class Model(nn.Module):
    """Dense layers for the features of nodes and edges, steps of message passing, and a decoder.

    A graph's own feature is zeros at first, as many as there are tasks. Each step has perceptrons
    of its own, with dropout after each of their layers. Nothing is added to what comes from the
    step before.

    Attributes:
      latent_dim: width of the first features of nodes and edges.
      hidden_dims: widths of the layers of each perceptron.
      num_steps: of message passing.
      num_outputs: tasks.
      activation: 'relu', 'gelu' (its tanh approximation) or 'silu'.
    """

    latent_dim: int
    hidden_dims: tuple[int, ...]
    num_steps: int
    num_outputs: int
    activation: str = "relu"

    output_layer = "decoder"

    @nn.compact
    def __call__(
        self, batch: Mapping[str, jax.Array], *, train: bool, dropout_rate: float | jax.Array
    ) -> jax.Array:
        """Logits, (graphs, num_outputs), of a batch with the fields of ``graphs.fields``."""
        nodes = nn.Dense(self.latent_dim, name="node_embedder")(batch["inputs"])
        edges = nn.Dense(self.latent_dim, name="edge_embedder")(batch["edges"])
        graphs = jnp.zeros((len(batch["targets"]), self.num_outputs), nodes.dtype)
        for index in range(self.num_steps):
            step = Step(self.hidden_dims, self.activation, name=f"step_{index}")
            nodes, edges, graphs = step(
                batch, nodes, edges, graphs, train=train, dropout_rate=dropout_rate
            )
        return nn.Dense(self.num_outputs, name="decoder")(graphs)  # (graphs, num_outputs)


class Step(nn.Module):
    """One step: new features of edges, of nodes from their edges, of graphs from both.

    Attributes: those of ``Model``.
    """

    hidden_dims: tuple[int, ...]
    activation: str

    @nn.compact
    def __call__(
        self,
        batch: Mapping[str, jax.Array],
        nodes: jax.Array,
        edges: jax.Array,
        graphs: jax.Array,
        *,
        train: bool,
        dropout_rate: float | jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """New features of (nodes, width), (edges, width) and (graphs, width)."""

        def update(name: str, *inputs: Rows) -> jax.Array:
            perceptron = Perceptron(self.hidden_dims, self.activation, name=name)
            return perceptron(*inputs, train=train, dropout_rate=dropout_rate)

        senders, receivers = batch["senders"], batch["receivers"]
        num_nodes, num_graphs = len(nodes), len(graphs)
        edges = update(
            "edge",
            Rows(edges),
            Rows(nodes, senders),
            Rows(nodes, receivers),
            Rows(graphs, batch["graph_of_edge"]),
        )
        sent = jax.ops.segment_sum(edges, senders, num_nodes)
        received = jax.ops.segment_sum(edges, receivers, num_nodes)
        nodes = update(
            "node",
            Rows(nodes),
            Rows(sent),
            Rows(received),
            Rows(graphs, batch["graph_of_node"]),
        )
        # Each edge is sent by a node of its graph, and there are fewer nodes than edges.
        both = jnp.concatenate([nodes, sent], axis=1)
        sums = jax.ops.segment_sum(both, batch["graph_of_node"], num_graphs)
        graphs = update("graph", Rows(sums), Rows(graphs))
        return nodes, edges, graphs


class Perceptron(nn.Module):
    """Dense layers, each with layer norm, activation and dropout.

    Attributes: those of ``Model``.
    """

    hidden_dims: tuple[int, ...]
    activation: str

    @nn.compact
    def __call__(self, *inputs: Rows, train: bool, dropout_rate: float | jax.Array) -> jax.Array:
        """(rows, hidden_dims[-1]) of the inputs beside each other."""
        x = RowsDense(self.hidden_dims[0], name="dense_0")(*inputs)
        for index, width in enumerate(self.hidden_dims):
            if index > 0:
                x = nn.Dense(width, name=f"dense_{index}")(x)
            x = nn.LayerNorm(epsilon=1e-6, use_fast_variance=False, name=f"norm_{index}")(x)
            x = dropout(self, ACTIVATIONS[self.activation](x), dropout_rate, train=train)
        return x


class RowsDense(nn.Module):
    """A dense layer of inputs beside each other: sum_i (x_i W_i)[rows_i] + b.

    Nodes are multiplied before they are repeated for their edges: it is the same, and less work.

    Attributes:
      features: width of the output.
    """

    features: int

    parameter_types: ClassVar = {"kernel": ParameterType.WEIGHT, "bias": ParameterType.BIAS}

    @nn.compact
    def __call__(self, *inputs: Rows) -> jax.Array:
        """(rows, features)."""
        widths = [x.shape[1] for x, _ in inputs]
        shape = (sum(widths), self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        kernels = jnp.split(kernel, np.cumsum(widths)[:-1])
        terms = [
            x @ part if rows is None else jnp.take(x @ part, rows, axis=0)
            for (x, rows), part in zip(inputs, kernels, strict=True)
        ]
        return sum(terms, bias)
