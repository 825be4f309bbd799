"""How many graphs a batch holds, and how long its fields are.

A batch of size b takes graphs in their order as long as there are at most b, with at most b times
``nodes_per_graph`` nodes and b times ``edges_per_graph`` directed edges together. These are about
the means of the data, so fields have fixed lengths of which little is filling.

AlgoPerf's reference does so on each device with its share of b, and its evaluations leave out what
does not give all devices a batch: with four or eight devices they see three quarters of the 43,793
graphs of a split, and those twice. Here a batch is the same whatever the number of devices, ranks
get parts of it that are about the same work, and an evaluation counts each graph once.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_DIVISOR = 64  # of lengths, so that devices can share the rows
_SLACK = 8  # a rank's fields have room for this part more than its share


class Lengths(NamedTuple):
    """How long the fields of a batch are: those of nodes, of directed edges and of graphs."""

    nodes: int
    edges: int
    graphs: int


class Budget(NamedTuple):
    """The most that a batch may hold: of nodes, of directed edges and of graphs."""

    nodes: int
    edges: int
    graphs: int

    def num_fitting(self, num_nodes: np.ndarray, num_edges: np.ndarray) -> int:
        """How many graphs fit, from the first on, that have so many nodes and directed edges."""
        head = slice(self.graphs)
        fits = np.cumsum(num_nodes[head]) <= self.nodes
        fits &= np.cumsum(num_edges[head]) <= self.edges
        return int(np.count_nonzero(fits))  # sums never fall, so the first ones fit

    def batches(self, num_nodes: np.ndarray, num_edges: np.ndarray) -> Iterator[slice]:
        """Which of the graphs are in each batch, until all are in one."""
        start = 0
        while start < len(num_nodes):
            stop = start + self.num_fitting(num_nodes[start:], num_edges[start:])
            yield slice(start, stop)
            start = stop

    def lengths(self, num_ranks: int = 1) -> Lengths:
        """The lengths of the fields of a rank's part, which may have to be exceeded if several."""
        shares = (
            self
            if num_ranks == 1
            else [-(-most * (_SLACK + 1) // (_SLACK * num_ranks)) for most in self]
        )
        return padded_lengths(*shares)


def padded_lengths(nodes: int, edges: int, graphs: int) -> Lengths:
    """Lengths of fields that hold so much besides filling: one node and one graph at least."""
    num_graphs = _round_up(graphs + 1)
    # Never as many nodes as graphs: the lengths show that rows of fields do not belong together.
    num_nodes = max(_round_up(nodes + 1), num_graphs + _DIVISOR)
    return Lengths(num_nodes, max(_DIVISOR, _round_up(edges)), num_graphs)


def part_of_rank(num_nodes: np.ndarray, num_edges: np.ndarray, rank: int, num_ranks: int) -> slice:
    """Which of a batch's graphs a rank gets: neighbours, about the same work for each rank."""
    work = num_nodes + num_edges
    middles = np.cumsum(work) - work / 2
    start, stop = np.searchsorted(middles, work.sum() * np.array([rank, rank + 1]) / num_ranks)
    return slice(int(start), int(stop))


def _round_up(length: int) -> int:
    return -(-length // _DIVISOR) * _DIVISOR
