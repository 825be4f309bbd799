"""The files of OGB's ogbg-molpcba, as they are distributed.

One zip archive has a folder with these files, each a table without a head, compressed by gzip:

- ``raw/num-node-list.csv.gz``, ``raw/num-edge-list.csv.gz``: a graph's nodes and edges, one a line
- ``raw/node-feat.csv.gz``: 9 features of a node, those of all graphs one after the other
- ``raw/edge.csv.gz``, ``raw/edge-feat.csv.gz``: the two nodes of an edge, counted from 0 in their
  graph, and its 3 features; each bond once
- ``raw/graph-label.csv.gz``: a graph's labels, 0 or 1, and nothing where one is missing
- ``split/scaffold/{train,valid,test}.csv.gz``: which graphs a split has, counted from 0
- ``mapping/mol.csv.gz``: names of the tasks, and the molecules as text; not needed here

Source: Hu et al., 2020, "Open Graph Benchmark", arXiv:2005.00687.
"""

import contextlib
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from finishline.data.progress import progress
from finishline.errors import UserError
from workloads.ogbg.graphs import EDGE_FEATURES, MISSING, NODE_FEATURES, Graphs

URL = "http://snap.stanford.edu/ogb/data/graphproppred/csv_mol_download/pcba.zip"
NAMES = ("pcba", "ogbg_molpcba", "molpcba")  # of the archive, and of what is in it
SPLIT_FILES = {"train": "train", "validation": "valid", "test": "test"}

_RAW = ("num-node-list", "num-edge-list", "node-feat", "edge", "edge-feat", "graph-label")
_FILES = [f"raw/{name}" for name in _RAW] + [f"split/scaffold/{n}" for n in SPLIT_FILES.values()]


class Originals(NamedTuple):
    """All graphs, and which of them each split has: int64, (n,)."""

    graphs: Graphs
    splits: dict[str, np.ndarray]


def find(source: Path, data_dir: Path) -> Path:
    """The archive in ``source``, or else the folder unpacked from it; ``source`` may be that.

    ``data_dir`` is for the message.

    Raises:
      UserError: there is neither; the message says how to obtain the archive.
    """
    archives = [source / f"{name}.zip" for name in NAMES]
    folders = [source, *(source / name for name in NAMES)]
    candidates = [path for path in archives if path.is_file()]
    candidates += [path for path in folders if (path / "raw" / "edge.csv.gz").is_file()]
    if candidates:
        return candidates[0]
    raise UserError(
        f"There is neither {archives[0].name} nor a folder with raw/edge.csv.gz in {source}; "
        f"download {URL}, put it there, or say with --source where it is, and run `python -m "
        f"workloads.prepare ogbg --data_dir {data_dir}` again."
    )


def read(path: Path, num_tasks: int) -> Originals:
    """Reads all graphs; shows how far it has come.

    Args:
      path: the archive or the folder.
      num_tasks: labels of a graph.

    Raises:
      UserError: a file is missing or damaged, or does not fit the others; the message names it.
    """
    files = _Files(path)
    with progress(f"reading {path.name}", sum(map(files.size, _FILES))) as advance:

        def table(name: str, columns: int, dtype: type, *, missing: int | None = None) -> Any:
            with files.open(name) as file:
                found = _table(file, columns, np.dtype(dtype), missing)
            advance(files.size(name))
            return found

        graphs = Graphs(
            num_nodes=table("raw/num-node-list", 1, np.int32)[:, 0],
            num_edges=table("raw/num-edge-list", 1, np.int32)[:, 0],
            labels=table("raw/graph-label", num_tasks, np.int8, missing=MISSING),
            nodes=table("raw/node-feat", NODE_FEATURES, np.uint8),
            edges=table("raw/edge-feat", EDGE_FEATURES, np.uint8),
            ends=table("raw/edge", 2, np.uint16),
        )
        splits = {
            split: table(f"split/scaffold/{name}", 1, np.int64)[:, 0]
            for split, name in SPLIT_FILES.items()
        }
    if problem := _problem(graphs, splits):
        raise UserError(f"{path} is damaged: {problem}; replace it by the original from {URL}.")
    return Originals(graphs, splits)


class _Files:
    """The files of the archive, or of the folder unpacked from it."""

    def __init__(self, path: Path):
        self._path = path
        self._archive = None if path.is_dir() else self._opened(path)
        names = self._archive.namelist() if self._archive else map(str, path.rglob("*.gz"))
        self._found = {
            file: name for name in names for file in _FILES if name.endswith(f"/{file}.csv.gz")
        }
        missing = [f"{file}.csv.gz" for file in _FILES if file not in self._found]
        if missing:
            raise UserError(f"{path} lacks {', '.join(missing)}; replace it by {URL}.")

    def size(self, name: str) -> int:
        """The bytes of a file, compressed."""
        found = self._found[name]
        if self._archive:
            return self._archive.getinfo(found).file_size
        return Path(found).stat().st_size

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[gzip.GzipFile]:
        """The content of one file; what goes wrong with it becomes an error that names it."""
        from pyarrow import ArrowException

        found = self._found[name]
        try:
            with self._raw(found) as raw, gzip.GzipFile(fileobj=raw) as content:
                yield content
        except (
            *(ArrowException, ValueError),
            *(zipfile.BadZipFile, zlib.error, EOFError, OSError),
        ) as error:
            raise UserError(
                f"{name}.csv.gz in {self._path} is damaged ({str(error).splitlines()[0]}); replace "
                f"it by the original from {URL}."
            ) from error

    def _raw(self, found: str) -> IO[bytes] | io.BufferedIOBase:
        return self._archive.open(found) if self._archive else Path(found).open("rb")

    @staticmethod
    def _opened(path: Path) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise UserError(f"{path} is no complete zip archive; download {URL} again.") from error


def _table(file: gzip.GzipFile, columns: int, dtype: np.dtype, missing: int | None) -> np.ndarray:
    """The whole numbers of a file, (lines, columns); an empty field is ``missing``.

    Raises:
      ValueError: there are others, or too large ones for ``dtype``.
      pyarrow.ArrowException: lines have another number of fields, or fields are no numbers.
    """
    import pyarrow as pa
    from pyarrow import csv

    names = [str(index) for index in range(columns)]
    reader = csv.open_csv(
        pa.PythonFile(file, mode="r"),
        csv.ReadOptions(column_names=names),
        csv.ParseOptions(ignore_empty_lines=False),
        csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64())),
    )
    columns_of = (batch.columns for batch in reader)
    parts = [
        _whole(np.column_stack([c.to_numpy(zero_copy_only=False) for c in found]), dtype, missing)
        for found in columns_of
    ]
    return np.concatenate(parts)


def _whole(numbers: np.ndarray, dtype: np.dtype, missing: int | None) -> np.ndarray:
    """``numbers`` as ``dtype``, with ``missing`` in place of NaN."""
    if missing is not None:
        numbers = np.where(np.isnan(numbers), missing, numbers)
    limits = np.iinfo(dtype)
    least = 0 if missing is None else missing
    is_right = (numbers >= least) & (numbers <= limits.max) & (numbers == np.round(numbers))
    if not is_right.all():
        wrong = numbers[~is_right][0]
        raise ValueError(
            "a field is empty"
            if np.isnan(wrong)
            else f"{wrong:g} is no whole number up to {limits.max:,}"
        )
    return numbers.astype(dtype)


def _problem(graphs: Graphs, splits: dict[str, np.ndarray]) -> str | None:
    """What does not fit together, if anything."""
    count = len(graphs.num_nodes)
    numbers = {
        "raw/num-edge-list": (len(graphs.num_edges), count),
        "raw/graph-label": (len(graphs.labels), count),
        "raw/node-feat": (len(graphs.nodes), int(graphs.num_nodes.sum())),
        "raw/edge": (len(graphs.ends), int(graphs.num_edges.sum())),
        "raw/edge-feat": (len(graphs.edges), int(graphs.num_edges.sum())),
    }
    for name, (found, expected) in numbers.items():
        if found != expected:
            return f"{name}.csv.gz has {found:,} lines, and {expected:,} would fit the others"
    if (graphs.num_nodes < 1).any():
        return "raw/num-node-list.csv.gz has a graph without nodes"
    if (graphs.ends >= np.repeat(graphs.num_nodes, graphs.num_edges)[:, None]).any():
        return "raw/edge.csv.gz has a node that its graph does not have"
    if graphs.labels.max(initial=0) > 1:
        return "raw/graph-label.csv.gz has a label that is neither 0 nor 1"
    members = np.concatenate(list(splits.values()))
    if len(np.unique(members)) != len(members) or members.max(initial=0) >= count:
        return "split/scaffold has graphs twice, or graphs that there are not"
    return next((f"its {s} split is empty" for s, found in splits.items() if not len(found)), None)
