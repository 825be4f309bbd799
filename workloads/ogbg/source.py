"""Reading prepared graphs by index, and batches of them.

In every batch the first graph and the first node are filling, which other filling belongs to: it is
zeros, in all fields. So a batch may be filled up further, and filling never meets a real graph.
"""

from collections.abc import Iterator

import numpy as np

from finishline.data.shuffle import TrainingOrder, rank_slice
from workloads.ogbg.batching import Budget, Lengths, padded_lengths, part_of_rank
from workloads.ogbg.graphs import EDGE_FEATURES, MISSING, NODE_FEATURES, Graphs, runs, starts

Batch = dict[str, np.ndarray]


class GraphSource:
    """Graphs as examples; a ``finishline.data.sources.BatchingSource``. Fields: ``graphs.fields``.

    An undirected edge becomes two directed ones with the same features, and features become floats.
    """

    def __init__(self, graphs: Graphs, *, nodes_per_graph: int, edges_per_graph: int):
        """Keeps ``graphs`` without a copy; for the numbers see ``batching``."""
        # Plain arrays over memory maps: np.memmap's hooks cost more than a gather.
        self._graphs = Graphs(*map(np.asarray, graphs))
        self._first_nodes = starts(self._graphs.num_nodes)
        self._first_edges = starts(self._graphs.num_edges)
        self._num_directed = 2 * self._graphs.num_edges
        self._nodes_per_graph = nodes_per_graph
        self._edges_per_graph = edges_per_graph

    def __len__(self) -> int:
        return len(self._graphs.num_nodes)

    def budget(self, batch_size: int) -> Budget:
        """The most that a batch may hold; any graph fits, by itself at least."""
        return Budget(
            max(batch_size * self._nodes_per_graph, int(self._graphs.num_nodes.max())),
            max(batch_size * self._edges_per_graph, int(self._num_directed.max())),
            batch_size,
        )

    def gather(self, indices: np.ndarray) -> Batch:
        """A batch of the graphs at ``indices`` (int64, (n,)), in that order."""
        return self._batch(indices, padded_lengths(*self._needed(indices)))

    def training_batches(
        self, *, batch_size: int, seed: int, position: int = 0, rank: int = 0, world_size: int = 1
    ) -> "GraphBatches":
        """See ``finishline.data.sources.BatchingSource``."""
        rank_slice(batch_size, rank, world_size)  # checks the numbers
        return GraphBatches(self, self.budget(batch_size), seed, position, rank, world_size)

    def evaluation_batches(self, indices: np.ndarray, batch_size: int) -> Iterator[Batch]:
        """Each of the graphs at ``indices`` exactly once, in their order."""
        budget = self.budget(batch_size)
        for part in budget.batches(*self.sizes(indices)):
            yield self._batch(indices[part], budget.lengths())

    def sizes(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How many nodes and how many directed edges the graphs have: two of (n,)."""
        return self._graphs.num_nodes[indices], self._num_directed[indices]

    def part(self, indices: np.ndarray, lengths: Lengths) -> Batch:
        """A batch of the graphs at ``indices``, of these lengths, or longer if they must be."""
        needed = padded_lengths(*self._needed(indices))
        return self._batch(indices, Lengths(*map(max, lengths, needed)))

    def _needed(self, indices: np.ndarray) -> tuple[int, int, int]:
        num_nodes, num_edges = self.sizes(indices)
        return int(num_nodes.sum()), int(num_edges.sum()), len(indices)

    def _batch(self, indices: np.ndarray, lengths: Lengths) -> Batch:
        num_graphs = len(indices)
        labels = self._graphs.labels[indices]  # (n, tasks)
        targets = np.zeros((lengths.graphs, labels.shape[1]), np.float32)
        weights = np.zeros_like(targets)
        targets[1 : 1 + num_graphs] = labels == 1
        weights[1 : 1 + num_graphs] = labels != MISSING
        nodes = self._node_fields(indices, lengths.nodes)
        edges = self._edge_fields(indices, lengths.edges)
        return {**nodes, **edges, "targets": targets, "weights": weights}

    def _node_fields(self, indices: np.ndarray, length: int) -> Batch:
        counts = self._graphs.num_nodes[indices]
        rows = runs(self._first_nodes[indices], counts)
        inputs = np.zeros((length, NODE_FEATURES), np.float32)
        inputs[1 : 1 + len(rows)] = self._graphs.nodes[rows]
        graph_of_node = np.zeros(length, np.int32)
        graph_of_node[1 : 1 + len(rows)] = np.repeat(_from_one(indices), counts)
        return {"inputs": inputs, "graph_of_node": graph_of_node}

    def _edge_fields(self, indices: np.ndarray, length: int) -> Batch:
        counts = self._graphs.num_edges[indices]
        rows = runs(self._first_edges[indices], counts)
        first_nodes = 1 + starts(self._graphs.num_nodes[indices])
        ends = self._graphs.ends[rows] + np.repeat(first_nodes, counts)[:, None]  # (edges, 2)
        edges = np.zeros((length, EDGE_FEATURES), np.float32)
        senders, receivers, graph_of_edge = np.zeros((3, length), np.int32)
        ways = slice(0, len(rows)), slice(len(rows), 2 * len(rows))
        for way, (source, target) in zip(ways, ((0, 1), (1, 0)), strict=True):
            edges[way] = self._graphs.edges[rows]
            senders[way] = ends[:, source]
            receivers[way] = ends[:, target]
            graph_of_edge[way] = np.repeat(_from_one(indices), counts)
        return {
            "edges": edges,
            "senders": senders,
            "receivers": receivers,
            "graph_of_edge": graph_of_edge,
        }


class GraphBatches(Iterator[Batch]):
    """Endless training batches; each takes up where the one before ended, over ends of epochs.

    Attributes:
      position: how many graphs of the training order have been handed out, over all ranks.
    """

    def __init__(
        self,
        source: GraphSource,
        budget: Budget,
        seed: int,
        position: int,
        rank: int,
        num_ranks: int,
    ):
        """See ``finishline.data.pipeline.TrainingBatches``."""
        self.position = position
        self._source = source
        self._budget = budget
        self._lengths = budget.lengths(num_ranks)
        self._order = TrainingOrder(len(source), seed)
        self._rank, self._num_ranks = rank, num_ranks

    def __next__(self) -> Batch:
        candidates = self._order.indices(self.position, self.position + self._budget.graphs)
        num_nodes, num_edges = self._source.sizes(candidates)
        count = self._budget.num_fitting(num_nodes, num_edges)
        mine = part_of_rank(num_nodes[:count], num_edges[:count], self._rank, self._num_ranks)
        self.position += count
        return self._source.part(candidates[:count][mine], self._lengths)

    def close(self) -> None:
        """Nothing to free."""


def _from_one(indices: np.ndarray) -> np.ndarray:
    """The numbers of the graphs in the batch, after the one of filling."""
    return np.arange(1, 1 + len(indices), dtype=np.int32)
