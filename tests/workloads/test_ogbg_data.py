"""Molecular graphs: the originals, the prepared splits, and batches of graphs."""

import gzip
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finishline.data import splits
from finishline.data.pipeline import evaluation_batches, training_batches
from finishline.data.sources import BatchingSource
from finishline.errors import UserError
from finishline.workload import SPLITS
from workloads.ogbg import molecules, originals
from workloads.ogbg.dataset import MoleculeDataset
from workloads.ogbg.graphs import MISSING, Graphs, fields
from workloads.ogbg.source import GraphSource

TASKS = 5
COUNTS = {"train": 40, "validation": 11, "test": 12}


def dataset():
    return MoleculeDataset(
        name="ogbg",
        num_examples=COUNTS,
        fields=fields(TASKS),
        num_tasks=TASKS,
        nodes_per_graph=16,
        edges_per_graph=33,
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    molecules.write_originals(folder, COUNTS, TASKS)
    return folder / "pcba.zip"


def texts_of(archive):
    """The text of each file of the archive, by its name without the endings."""
    with zipfile.ZipFile(archive) as files:
        return {
            name.removeprefix("pcba/").removesuffix(".csv.gz"): gzip.decompress(files.read(name))
            for name in files.namelist()
        }


def graphs_of(batch):
    """The real graphs of a batch, each as (nodes, edges, targets, weights), by their contents."""
    found = []
    for graph in range(1, len(batch["targets"])):
        nodes = np.flatnonzero(batch["graph_of_node"] == graph)
        edges = np.flatnonzero(batch["graph_of_edge"] == graph)
        if not len(nodes):
            continue
        ends = [batch[name][edges] - nodes[0] for name in ("senders", "receivers")]
        assert (np.diff(nodes) == 1).all()
        assert all(((e >= 0) & (e < len(nodes))).all() for e in ends)
        parts = (batch["inputs"][nodes], batch["edges"][edges], *ends)
        labels = batch["targets"][graph], batch["weights"][graph]
        found.append(tuple(part.tobytes() for part in (*parts, *labels)))
    return found


def check_filling(batch):
    """What is filling is zeros in all fields, and belongs to the first node and graph."""
    is_filling = batch["graph_of_node"] == 0
    assert is_filling[0]
    assert not batch["inputs"][is_filling].any()
    is_filling = batch["graph_of_edge"] == 0
    for name in ("edges", "senders", "receivers"):
        assert not batch[name][is_filling].any()
    assert not batch["targets"][0].any()
    assert not batch["weights"][0].any()


def made_up_graphs(num_nodes, num_edges, tasks=3):
    """Graphs of these sizes with anything in them; the first feature is the graph's number."""
    generator = np.random.default_rng(0)
    num_nodes, num_edges = np.array(num_nodes, np.int32), np.array(num_edges, np.int32)
    nodes = generator.integers(0, 9, (num_nodes.sum(), 9), np.uint8)
    nodes[:, 0] = np.repeat(np.arange(len(num_nodes)), num_nodes)
    most = np.repeat(num_nodes, num_edges)[:, None]
    return Graphs(
        num_nodes,
        num_edges,
        generator.integers(MISSING, 2, (len(num_nodes), tasks)).astype(np.int8),
        nodes,
        generator.integers(0, 9, (num_edges.sum(), 3), np.uint8),
        (generator.random((num_edges.sum(), 2)) * most).astype(np.uint16),
    )


SIZES = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 15)), min_size=1, max_size=30)


def made_up_source(sizes):
    num_nodes, num_edges = zip(*sizes, strict=True)
    graphs = made_up_graphs(num_nodes, num_edges)
    return GraphSource(graphs, nodes_per_graph=6, edges_per_graph=14)


def numbers_of(batch):
    """The numbers of a made-up batch's graphs, in their order."""
    return batch["inputs"][np.flatnonzero(np.diff(batch["graph_of_node"], prepend=0) > 0), 0]


def test_prepared_graphs_are_those_of_the_text_files(archive, tmp_path):
    dataset().prepare(tmp_path, archive.parent)
    texts = {name: text.decode().splitlines() for name, text in texts_of(archive).items()}
    num_nodes = np.array(texts["raw/num-node-list"], int)
    num_edges = np.array(texts["raw/num-edge-list"], int)
    for split in SPLITS:
        source = dataset().open(tmp_path, split)
        assert isinstance(source, BatchingSource)
        members = list(map(int, texts[f"split/scaffold/{originals.SPLIT_FILES[split]}"]))
        assert len(source) == len(members) == COUNTS[split]
        assert splits.verify_split(tmp_path / "ogbg" / split) == COUNTS[split]
        for index, member in enumerate(members):
            batch = source.gather(np.array([index]))
            check_filling(batch)
            first, first_edge = num_nodes[:member].sum(), num_edges[:member].sum()
            n, e = num_nodes[member], num_edges[member]
            nodes = [line.split(",") for line in texts["raw/node-feat"][first : first + n]]
            np.testing.assert_array_equal(batch["inputs"][1 : 1 + n], np.array(nodes, float))
            assert not batch["inputs"][1 + n :].any()
            rows = slice(first_edge, first_edge + e)
            ends = np.array([line.split(",") for line in texts["raw/edge"][rows]], int) + 1
            features = np.array([line.split(",") for line in texts["raw/edge-feat"][rows]], float)
            expected = np.concatenate([np.c_[ends, features], np.c_[ends[:, ::-1], features]])
            actual = np.c_[batch["senders"], batch["receivers"], batch["edges"]][: 2 * e]
            np.testing.assert_array_equal(actual, expected)
            labels = texts["raw/graph-label"][member].split(",")
            assert batch["weights"][1].tolist() == [float(label != "") for label in labels]
            assert batch["targets"][1].tolist() == [float(label or 0) for label in labels]


def test_the_unpacked_folder_will_do_and_finished_splits_are_kept(archive, tmp_path):
    with zipfile.ZipFile(archive) as files:
        files.extractall(tmp_path / "unpacked")
    for number, source in enumerate((tmp_path / "unpacked", tmp_path / "unpacked" / "pcba")):
        dataset().prepare(tmp_path / str(number), source)
    dataset().prepare(tmp_path / "zip", archive.parent)
    for split in SPLITS:
        files = [tmp_path / name / "ogbg" / split for name in ("0", "1", "zip")]
        contents = [{p.name: p.read_bytes() for p in folder.iterdir()} for folder in files]
        assert contents[0] == contents[1] == contents[2]
    shutil.rmtree(tmp_path / "0" / "ogbg" / "test")
    kept = (tmp_path / "0" / "ogbg" / "train" / "nodes.npy").stat().st_mtime_ns
    dataset().prepare(tmp_path / "0", archive.parent)
    assert dataset().is_prepared(tmp_path / "0")
    assert (tmp_path / "0" / "ogbg" / "train" / "nodes.npy").stat().st_mtime_ns == kept


def test_it_is_said_how_to_obtain_the_originals(tmp_path):
    with pytest.raises(UserError, match=r"neither pcba.zip nor .* download http://snap.stanford"):
        dataset().prepare(tmp_path)
    assert not (tmp_path / "ogbg").exists()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("raw/edge", None, r"lacks raw/edge.csv.gz"),
        ("raw/node-feat", lambda text: text + b"1,2,3,4,5,6,7,8,9\n", r"node-feat.* lines"),
        ("raw/node-feat", lambda text: b"1,2\n" + text, r"node-feat.csv.gz in .*Expected 9 col"),
        ("raw/node-feat", lambda text: b"300" + text, r"node-feat.csv.gz in .*no whole number up"),
        ("raw/edge-feat", lambda text: b"a" + text, r"edge-feat.csv.gz in .*is damaged"),
        ("raw/edge-feat", lambda text: b"0.5" + text, r"edge-feat.csv.gz in .*0.5 is no whole"),
        ("raw/edge", lambda text: b"999,0\n" + text.split(b"\n", 1)[1], r"node that its graph"),
        ("raw/num-node-list", lambda text: b"0\n" + text.split(b"\n", 1)[1], r"lines"),
        ("raw/graph-label", lambda text: text.replace(b"1.0", b"2.0"), r"neither 0 nor 1"),
        ("raw/num-edge-list", lambda text: b"\n" + text, r"num-edge-list.*a field is empty"),
        ("split/scaffold/valid", lambda text: text + text, r"graphs twice"),
        ("split/scaffold/valid", lambda text: text + b"99\n", r"graphs that there are not"),
        ("split/scaffold/test", lambda text: b"", r"scaffold/test.csv.gz in .*is damaged"),
    ],
)
def test_damaged_originals_are_named(archive, tmp_path, name, change, message):
    texts = texts_of(archive)
    if change is None:
        del texts[name]
    else:
        texts[name] = change(texts[name])
    molecules.write_archive(tmp_path / "pcba.zip", texts)
    with pytest.raises(UserError, match=message):
        dataset().prepare(tmp_path / "data", tmp_path)
    assert not list((tmp_path / "data").glob("ogbg/*"))


def test_an_incomplete_archive_is_named(archive, tmp_path):
    content = archive.read_bytes()
    middle = len(content) // 3
    changed = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
    for damaged in (content[:middle], changed):
        (tmp_path / "pcba.zip").write_bytes(damaged)
        with pytest.raises(UserError, match=r"pcba.zip (is|lacks)"):
            dataset().prepare(tmp_path / "data", tmp_path)


@settings(deadline=None, max_examples=60)
@given(SIZES, st.integers(1, 40))
def test_an_evaluation_has_each_graph_once_within_the_budgets(sizes, batch_size):
    source = made_up_source(sizes)
    budget = source.budget(batch_size)
    seen, lengths = [], set()
    for batch in evaluation_batches(source, batch_size):
        check_filling(batch)
        real_nodes = np.count_nonzero(batch["graph_of_node"])
        assert 0 < real_nodes <= budget.nodes
        assert np.count_nonzero(batch["graph_of_edge"]) <= budget.edges
        assert len(numbers_of(batch)) <= batch_size
        assert all(len(array) % 64 == 0 for array in batch.values())
        lengths.add(tuple(map(len, batch.values())))
        seen.append(numbers_of(batch))
    assert np.concatenate(seen).tolist() == list(range(len(sizes)))
    assert len(lengths) == 1
    assert budget.nodes == max(6 * batch_size, *(nodes for nodes, _ in sizes))


@settings(deadline=None, max_examples=60)
@given(SIZES, st.integers(1, 10), st.integers(1, 4), st.integers(0, 2**63))
def test_training_has_each_graph_once_an_epoch_on_any_number_of_ranks(sizes, size, ranks, seed):
    source = made_up_source(sizes)
    arguments = {"batch_size": size * ranks, "seed": seed}
    alone = training_batches(source, **arguments)
    shared = [training_batches(source, **arguments, rank=r, world_size=ranks) for r in range(ranks)]
    order = []
    while alone.position < 2 * len(source):
        whole, parts = next(alone), [next(batches) for batches in shared]
        order += numbers_of(whole).tolist()
        assert all(batches.position == alone.position == len(order) for batches in shared)
        joined = [numbers_of(part) for part in parts]
        assert np.concatenate(joined).tolist() == numbers_of(whole).tolist()
        for part in parts:
            check_filling(part)
        assert sorted(g for part in parts for g in graphs_of(part)) == sorted(graphs_of(whole))
    for epoch in range(2):
        first = epoch * len(source)
        assert sorted(order[first : first + len(source)]) == list(range(len(source)))


@settings(deadline=None, max_examples=40)
@given(SIZES, st.integers(1, 20), st.integers(1, 8))
def test_a_training_goes_on_from_where_it_was(sizes, batch_size, num_batches):
    source = made_up_source(sizes)
    batches = training_batches(source, batch_size=batch_size, seed=3)
    for _ in range(num_batches):
        next(batches)
    resumed = training_batches(source, batch_size=batch_size, seed=3, position=batches.position)
    for _ in range(5):
        expected, actual = next(batches), next(resumed)
        assert resumed.position == batches.position
        assert expected.keys() == actual.keys()
        assert all(np.array_equal(expected[name], actual[name]) for name in expected)


def test_ranks_share_a_batch_evenly_and_in_arrays_of_one_length():
    graphs = molecules.make_up(600, TASKS)
    source = GraphSource(graphs, nodes_per_graph=16, edges_per_graph=33)
    arguments = {"batch_size": 256, "seed": 0}
    shared = [training_batches(source, **arguments, rank=r, world_size=4) for r in range(4)]
    lengths, shares = set(), []
    for _ in range(6):
        parts = [next(batches) for batches in shared]
        lengths |= {tuple(map(len, part.values())) for part in parts}
        shares.append([np.count_nonzero(part["graph_of_edge"]) for part in parts])
    assert len(lengths) == 1
    assert (np.max(shares, axis=1) < 1.1 * np.mean(shares, axis=1)).all()


def test_wrong_numbers_are_refused():
    source = made_up_source([(3, 2)] * 9)
    for arguments in ({"batch_size": 6, "world_size": 4}, {"batch_size": 4, "rank": 1}):
        with pytest.raises(ValueError, match=r"multiple|not one of"):
            training_batches(source, seed=0, **arguments)


def test_made_up_molecules_have_motifs_for_labels():
    graphs = molecules.make_up(300, 16)
    again = molecules.make_up(300, 16)
    assert all(np.array_equal(a, b) for a, b in zip(graphs, again, strict=True))
    shares = [(column == 1).sum() / (column >= 0).sum() for column in graphs.labels.T]
    assert min(shares) < 0.08 < 0.3 < max(shares)
    assert 0.2 < (graphs.labels == MISSING).mean() < 0.3
    first_edges = np.cumsum(graphs.num_edges) - graphs.num_edges
    for index, labels in enumerate(graphs.labels):
        edges = slice(first_edges[index], first_edges[index] + graphs.num_edges[index])
        is_aromatic = (graphs.edges[edges, 0] == molecules.AROMATIC).any()
        assert labels[4] in (MISSING, is_aromatic)
        has_triple = (graphs.edges[edges, 0] == molecules.TRIPLE).any()
        assert labels[10] in (MISSING, has_triple)
        assert graphs.ends[edges].max() == graphs.num_nodes[index] - 1
        if labels[:6].sum() == 0 and MISSING not in labels[:6]:  # no ring: a tree
            assert graphs.num_edges[index] == graphs.num_nodes[index] - 1
