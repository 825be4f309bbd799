"""Many graphs in flat arrays, and their fields in a batch.

A graph has nodes and undirected edges with small whole numbers as features, and for each task a
label, some of which are missing. The nodes of all graphs lie one after the other, and so do edges.
"""

from typing import NamedTuple

import numpy as np

from finishline.data.prepared import Field

NODE_FEATURES = 9
EDGE_FEATURES = 3
MISSING = -1


class Graphs(NamedTuple):
    """Graphs as they are stored.

    Attributes:
      num_nodes: int32, (graphs,).
      num_edges: int32, (graphs,); each undirected edge counts once.
      labels: int8, (graphs, tasks): 0, 1 or ``MISSING``.
      nodes: features, uint8, (nodes, 9).
      edges: features, uint8, (edges, 3).
      ends: the two nodes of each edge, counted from 0 in their graph: uint16, (edges, 2).
    """

    num_nodes: np.ndarray
    num_edges: np.ndarray
    labels: np.ndarray
    nodes: np.ndarray
    edges: np.ndarray
    ends: np.ndarray

    def take(self, indices: np.ndarray) -> "Graphs":
        """The graphs at ``indices`` (int64, (n,)), in that order."""
        num_nodes, num_edges = self.num_nodes[indices], self.num_edges[indices]
        node_rows = runs(starts(self.num_nodes)[indices], num_nodes)
        edge_rows = runs(starts(self.num_edges)[indices], num_edges)
        return Graphs(
            num_nodes,
            num_edges,
            self.labels[indices],
            self.nodes[node_rows],
            self.edges[edge_rows],
            self.ends[edge_rows],
        )


def starts(counts: np.ndarray) -> np.ndarray:
    """Where each of consecutive runs of ``counts`` rows begins: int64."""
    return np.cumsum(counts, dtype=np.int64) - counts


def runs(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The numbers ``first[i]`` to ``first[i] + counts[i] - 1`` for each i, in one row: int64."""
    return np.repeat(first - starts(counts), counts) + np.arange(counts.sum())


def fields(num_tasks: int) -> dict[str, Field]:
    """The fields of a batch, of which those of nodes, of edges and of graphs have lengths apart.

    ``inputs`` are features of nodes and ``edges`` those of directed edges; ``senders`` and
    ``receivers`` are the nodes of an edge, ``graph_of_node`` and ``graph_of_edge`` graphs, by their
    numbers in the batch. ``weights`` are 1 where there is a label and 0 where none is.
    """
    number = Field((), "int32")
    return {
        "inputs": Field((NODE_FEATURES,), "float32"),
        "graph_of_node": number,
        "edges": Field((EDGE_FEATURES,), "float32"),
        "senders": number,
        "receivers": number,
        "graph_of_edge": number,
        "targets": Field((num_tasks,), "float32"),
        "weights": Field((num_tasks,), "float32"),
    }
