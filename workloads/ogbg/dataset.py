"""ogbg-molpcba: 437,929 molecules as graphs, of each the outcome of up to 128 bioassays.

The splits are OGB's, by scaffold: those of validation and test have other skeletons than those of
training.
"""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from finishline.data import splits
from finishline.data.preparation import check_disk
from finishline.data.prepared import StoredDataset
from workloads.ogbg.graphs import Graphs
from workloads.ogbg.source import GraphSource


@dataclasses.dataclass(eq=False, kw_only=True)
class MoleculeDataset(StoredDataset):
    """Molecules in the prepared layout, made from the archive that OGB distributes.

    Attributes:
      num_tasks: labels of a graph.
      nodes_per_graph: of a batch's size, so many times nodes may be in it; see ``batching``.
      edges_per_graph: likewise directed edges.
    """

    num_tasks: int
    nodes_per_graph: int
    edges_per_graph: int

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes the splits that are missing or damaged; see ``Dataset.prepare``.

        Reading the originals takes about a minute, and all of them are in memory then.
        """
        from workloads.ogbg import originals

        del num_workers
        missing = self.missing_splits(data_dir)
        if not missing:
            return
        path = originals.find(Path(data_dir) / self.name if source is None else source, data_dir)
        graphs, members = originals.read(path, self.num_tasks)
        folder = Path(data_dir) / self.name
        folder.mkdir(parents=True, exist_ok=True)
        check_disk(folder, sum(array.nbytes for array in graphs))
        for split in missing:
            write(self.folder(data_dir, split), graphs.take(members[split]))

    def open(self, data_dir: Path, split: str, quirks: frozenset[str] = frozenset()) -> GraphSource:
        """Opens one split; see ``Dataset.open``."""
        del quirks
        (arrays,) = splits.Split(self.folder(data_dir, split)).arrays()
        return GraphSource(
            Graphs(**arrays),
            nodes_per_graph=self.nodes_per_graph,
            edges_per_graph=self.edges_per_graph,
        )


@dataclasses.dataclass(eq=False, kw_only=True)
class MadeUpMolecules(MoleculeDataset):
    """Made-up molecules, prepared from an archive like OGB's; see ``workloads.ogbg.molecules``."""

    def prepare(self, data_dir: Path, source: Path | None = None, num_workers: int = 1) -> None:
        """Makes up the archive and prepares it; see ``Dataset.prepare``."""
        from workloads.ogbg import molecules

        del source
        if self.is_prepared(data_dir):
            return
        with tempfile.TemporaryDirectory() as folder:
            molecules.write_originals(Path(folder), self.num_examples, self.num_tasks)
            super().prepare(data_dir, Path(folder), num_workers)


def write(folder: Path, graphs: Graphs) -> None:
    """Writes a prepared split."""
    fields = graphs._asdict()
    by_graph = {name: fields.pop(name) for name in ("num_nodes", "num_edges", "labels")}
    splits.write_split(folder, by_graph, {name: np.asarray(a) for name, a in fields.items()})
