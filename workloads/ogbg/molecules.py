"""Made-up molecules whose labels are the motifs in them.

A molecule is a small tree of atoms, to which motifs are bound: rings, chains, stars and functional
groups, some of them rare. Features are those of OGB: atomic number, chirality, bonds, charge,
hydrogens, unpaired electrons, hybridisation, and whether an atom is aromatic and in a ring; of a
bond its kind, its stereochemistry, and whether it is conjugated. The first tasks are whether a
motif is there, the others whether both or just one of two are. A quarter of the labels is missing.
"""

import gzip
import itertools
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from workloads.ogbg.graphs import MISSING, Graphs
from workloads.ogbg.originals import NAMES, SPLIT_FILES

SINGLE, DOUBLE, TRIPLE, AROMATIC = range(4)
C, N, O, F, S, CL = 6, 7, 8, 9, 16, 17  # noqa: E741  # symbols of the elements

_VALENCE = {C: 4, N: 3, O: 2, F: 1, S: 6, CL: 1}
_ORDER = {SINGLE: 1.0, DOUBLE: 2.0, TRIPLE: 3.0, AROMATIC: 1.5}
_NO_CHARGE = 5  # the place of 0 in OGB's list of charges
_MISSING_SHARE = 0.25
_SEED = 128


class Molecule:
    """A molecule that grows.

    Attributes:
      elements: atomic numbers.
      bonds: two atoms and the kind of their bond.
      ring_atoms: those in a ring.
    """

    def __init__(self) -> None:
        self.elements: list[int] = []
        self.bonds: list[tuple[int, int, int]] = []
        self.ring_atoms: set[int] = set()

    def add(self, element: int, to: int | None = None, kind: int = SINGLE) -> int:
        """Adds an atom, bound to the atom ``to``; returns its number."""
        self.elements.append(element)
        atom = len(self.elements) - 1
        if to is not None:
            self.bonds.append((to, atom, kind))
        return atom

    def add_chain(self, elements: Sequence[int], to: int, kind: int = SINGLE) -> list[int]:
        """Adds atoms, each bound to the one before; ``kind`` is that of the bonds between them."""
        atoms = [self.add(elements[0], to)]
        for element in elements[1:]:
            atoms.append(self.add(element, atoms[-1], kind))
        return atoms

    def add_ring(self, elements: Sequence[int], to: int, kind: int = SINGLE) -> list[int]:
        """Adds a chain whose ends are bound to each other."""
        atoms = self.add_chain(elements, to, kind)
        self.bonds.append((atoms[0], atoms[-1], kind))
        self.ring_atoms.update(atoms)
        return atoms

    def add_group(self, centre: int, around: Sequence[tuple[int, int]], to: int) -> None:
        """Adds an atom and those bound to it alone, each an element and the kind of its bond."""
        atom = self.add(centre, to)
        for element, kind in around:
            self.add(element, atom, kind)

    def node_features(self) -> np.ndarray:
        """(atoms, 9), as OGB has them."""
        rows = []
        for atom, element in enumerate(self.elements):
            kinds = [kind for *ends, kind in self.bonds if atom in ends]
            order = sum(_ORDER[kind] for kind in kinds)
            hydrogens = max(0, _VALENCE[element] - int(order))
            hybridisation = 0 if TRIPLE in kinds else 1 if set(kinds) & {DOUBLE, AROMATIC} else 2
            is_aromatic, is_in_ring = AROMATIC in kinds and len(kinds) > 1, atom in self.ring_atoms
            atom_alone = (element - 1, 0, len(kinds), _NO_CHARGE, hydrogens, 0)
            rows.append((*atom_alone, hybridisation, is_aromatic, is_in_ring))
        return np.array(rows, np.uint8)

    def edge_features(self) -> np.ndarray:
        """(bonds, 3), as OGB has them."""
        return np.array([(kind, 0, kind == AROMATIC) for *_, kind in self.bonds], np.uint8)


def _fused(molecule: Molecule, at: int) -> None:
    """Two rings that share a bond."""
    ring = molecule.add_ring([C] * 5, at)
    bridge = molecule.add_chain([C, C, C], ring[2])
    molecule.bonds.append((bridge[-1], ring[3], SINGLE))
    molecule.ring_atoms.update(bridge)


# What is bound to an atom, and in which share of the molecules.
MOTIFS: tuple[tuple[Callable[[Molecule, int], object], float], ...] = (
    (lambda m, at: m.add_ring([C] * 3, at), 0.15),
    (lambda m, at: m.add_ring([C] * 4, at), 0.2),
    (lambda m, at: m.add_ring([C] * 5, at), 0.3),
    (lambda m, at: m.add_ring([C] * 6, at), 0.3),
    (lambda m, at: m.add_ring([C] * 6, at, AROMATIC), 0.4),
    (_fused, 0.1),
    (lambda m, at: m.add_chain([O, C, O, C], at), 0.2),
    (lambda m, at: m.add_group(C, [(F, SINGLE)] * 3, at), 0.1),
    (lambda m, at: m.add_group(C, [(O, DOUBLE), (O, SINGLE)], at), 0.2),
    (lambda m, at: m.add_group(C, [(O, DOUBLE), (N, SINGLE)], at), 0.2),
    (lambda m, at: m.add_group(C, [(N, TRIPLE)], at), 0.06),
    (lambda m, at: m.add_group(S, [(O, DOUBLE), (O, DOUBLE), (CL, SINGLE)], at), 0.06),
)


def make_up(count: int, num_tasks: int, seed: int = _SEED) -> Graphs:
    """``count`` molecules, no two of which were made alike."""
    generator = np.random.default_rng(seed)
    drawn: dict[bytes, tuple[Molecule, np.ndarray]] = {}
    while len(drawn) < count:
        is_there = generator.random(len(MOTIFS)) < [share for _, share in MOTIFS]
        molecule = _draw(is_there, generator)
        content = repr((molecule.elements, molecule.bonds)).encode()
        drawn.setdefault(content, (molecule, is_there))
    molecules, motifs = zip(*drawn.values(), strict=True)
    labels = np.stack([*itertools.islice(_tasks(np.stack(motifs)), num_tasks)], axis=1)
    is_missing = generator.random(labels.shape) < _MISSING_SHARE
    return Graphs(
        num_nodes=np.array([len(m.elements) for m in molecules], np.int32),
        num_edges=np.array([len(m.bonds) for m in molecules], np.int32),
        labels=np.where(is_missing, MISSING, labels).astype(np.int8),
        nodes=np.concatenate([m.node_features() for m in molecules]),
        edges=np.concatenate([m.edge_features() for m in molecules]),
        ends=np.concatenate([[bond[:2] for bond in m.bonds] for m in molecules]).astype(np.uint16),
    )


def _draw(is_there: np.ndarray, generator: np.random.Generator) -> Molecule:
    """A tree with the motifs."""
    molecule = Molecule()
    molecule.add(C)
    for _ in range(generator.integers(2, 7)):
        element = int(generator.choice([C, C, C, N, O]))
        molecule.add(element, int(generator.integers(len(molecule.elements))))
    size = len(molecule.elements)
    for index in generator.permutation(np.flatnonzero(is_there)):
        MOTIFS[index][0](molecule, int(generator.integers(size)))
    return molecule


def _tasks(motifs: np.ndarray) -> Iterator[np.ndarray]:
    """The labels of each task, (molecules,), of which motifs there are, (molecules, motifs)."""
    yield from motifs.T
    for a, b in itertools.combinations(motifs.T, 2):
        yield a & b
        yield a ^ b


def write_originals(folder: Path, num_examples: Mapping[str, int], num_tasks: int) -> None:
    """Writes OGB's archive with made-up molecules.

    Args:
      folder: where to.
      num_examples: molecules by split.
      num_tasks: labels of a molecule.
    """
    graphs = make_up(sum(num_examples.values()), num_tasks)
    texts = {
        "raw/num-node-list": _lines(graphs.num_nodes),
        "raw/num-edge-list": _lines(graphs.num_edges),
        "raw/node-feat": _lines(graphs.nodes),
        "raw/edge": _lines(graphs.ends),
        "raw/edge-feat": _lines(graphs.edges),
        "raw/graph-label": _lines(np.array(["", "0.0", "1.0"])[graphs.labels - MISSING]),
    }
    # In no order, as molecules are where they are split by their scaffold.
    order = np.random.default_rng(_SEED).permutation(len(graphs.num_nodes))
    for split, count in num_examples.items():
        texts[f"split/scaffold/{SPLIT_FILES[split]}"] = _lines(np.sort(order[:count]))
        order = order[count:]
    folder.mkdir(parents=True, exist_ok=True)
    write_archive(folder / f"{NAMES[0]}.zip", texts)


def write_archive(path: Path, texts: Mapping[str, bytes]) -> None:
    """Writes ``texts``, by the names of their files without the endings."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            archive.writestr(f"{NAMES[0]}/{name}.csv.gz", gzip.compress(text, 1, mtime=0))


def _lines(table: np.ndarray) -> bytes:
    rows = table.reshape(len(table), -1).astype(str).tolist()
    return "".join(",".join(row) + "\n" for row in rows).encode()
