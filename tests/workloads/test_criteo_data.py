"""Criteo 1TB: hashing, preparation and reading."""

import gzip
import math
import multiprocessing
import re
import shutil

import numpy as np
import pytest

from finishline.data import splits, streaming
from finishline.data.preparation import ShardContent
from finishline.data.streaming import StreamShard, StreamTask, prepare_streams
from finishline.errors import UserError
from finishline.workload import SPLITS, find_workload
from workloads.criteo1tb import hashing, mini, originals, source
from workloads.criteo1tb.dataset import CriteoDataset
from workloads.criteo1tb.fields import FIELDS
from workloads.criteo1tb.originals import Extent, LineReader
from workloads.criteo1tb.parsing import read_shards
from workloads.criteo1tb.source import ClickLogSource

# (category, column, Fingerprint64 of both joined), computed with pyfarmhash 0.4.0.
GOLDEN = [
    ("00000000", 0, 2271946735276985195),
    ("d82c07cd", 0, 12001440781039852925),
    ("629f6fbe", 1, 13570095866108582340),
    ("c2094cac", 5, 14295292934517832230),
    ("e3e70682", 9, 11879668070360976875),
    ("00000000", 10, 2228973863545369937),
    ("6baa9455", 10, 15531920730644303932),
    ("0a5d2f34", 19, 13770278714656369847),
    ("42485e3a", 25, 17054295428643381141),
    ("ffffffff", 25, 774403181344639242),
]


def word(category):
    return np.frombuffer(category.encode(), "<u8")


@pytest.mark.parametrize(("category", "column", "expected"), GOLDEN)
def test_hashes_are_those_of_an_independent_implementation(category, column, expected):
    fingerprint = hashing.fingerprints(word(category), str(column).encode())
    assert fingerprint.tolist() == [expected]
    bucket = hashing.bucket_ids(word(category), column)
    assert bucket.dtype == np.int32
    assert bucket.tolist() == [expected % hashing.NUM_BUCKETS[column]]


def test_there_are_26_columns_with_buckets_below_float32_and_above():
    assert len(hashing.NUM_BUCKETS) == 26
    assert max(hashing.NUM_BUCKETS) == 39_979_771
    assert sum(hashing.NUM_BUCKETS) == 187_767_399


def test_hexadecimal_digits_are_told_from_all_other_bytes():
    """Each byte at each place, in a word that is right else."""
    words = np.full((8, 256, 8), ord("7"), np.uint8)
    for place in range(8):
        words[place, :, place] = np.arange(256)
    valid = hashing.are_hexadecimal(words.reshape(-1, 8).view("<u8")[:, 0]).reshape(8, 256)
    for place in range(8):
        assert set(np.flatnonzero(valid[place])) == set(b"0123456789abcdef")


# --- Preparation against a slow parser


def slow_parse(text):
    """The arrays of some lines, line by line; hashes by ``hashing`` with one value at a time."""
    rows = [line.split(b"\t") for line in text.splitlines()]
    inputs = [[math.log(1 + max(0, int(f or b"0"))) for f in row[1:14]] for row in rows]
    categories = [
        [int(hashing.bucket_ids(word((f or b"00000000").decode()), c)[0]) for c, f in pairs]
        for pairs in (enumerate(row[14:]) for row in rows)
    ]
    return {
        "inputs": np.array(inputs, np.float32),
        "categories": np.array(categories, np.int32),
        "targets": np.array([[int(row[0])] for row in rows], np.float32),
    }


def random_lines(count, seed=0):
    """Lines with missing fields, negative and large numbers."""
    generator = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        numbers = [str(n) for n in generator.integers(-3, 10 ** generator.integers(1, 12, 13))]
        categories = [f"{n:08x}" for n in generator.integers(0, 2**32, 26)]
        fields = [f if generator.random() < 0.8 else "" for f in numbers + categories]
        lines.append("\t".join([str(generator.integers(2)), *fields]) + "\n")
    return [line.encode() for line in lines]


LAYOUTS = ("compressed", "plain", "parts")
NUM_LAST = 40  # lines of day 23


def write_days(folder, layout):
    """24 days; the lines of each."""
    folder.mkdir()
    days = [random_lines(NUM_LAST if day == 23 else 2 + day, day) for day in range(24)]
    for day, lines in enumerate(days):
        if layout == "compressed":
            (folder / f"day_{day}.gz").write_bytes(gzip.compress(b"".join(lines)))
        elif layout == "plain":
            (folder / f"day_{day}").write_bytes(b"".join(lines))
        else:
            for number, start in enumerate(range(0, len(lines), 7)):
                path = folder / f"day_{day}_{number:02d}"
                path.write_bytes(b"".join(lines[start : start + 7]))
    return days


def small_dataset(name="criteo", counts=(299, 13, 27)):
    return CriteoDataset(
        name=name,
        num_examples=dict(zip(SPLITS, counts, strict=True)),
        fields=FIELDS,
        shard_bytes=2500,
    )


def gather_all(dataset, data_dir, split, **options):
    opened = dataset.open(data_dir, split, **options)
    return opened.gather(np.arange(len(opened)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_prepared_rows_are_those_of_a_slow_parser(tmp_path, layout):
    days = write_days(tmp_path / "originals", layout)
    dataset = small_dataset()
    dataset.prepare(tmp_path, tmp_path / "originals")
    expected = {
        "train": b"".join(line for day in days[:-1] for line in day),
        "test": b"".join(days[-1][:27]),
        "validation": b"".join(days[-1][27:]),
    }
    for split, text in expected.items():
        rows = gather_all(dataset, tmp_path, split)
        for name, array in slow_parse(text).items():
            assert rows[name].dtype == array.dtype == FIELDS[name].dtype
            assert rows[name].shape[1:] == FIELDS[name].shape
            np.testing.assert_array_equal(rows[name], array, err_msg=name)
    assert len(splits.Split(dataset.folder(tmp_path, "train")).lengths) > 24


def test_all_layouts_and_numbers_of_processes_give_the_same(tmp_path):
    """``rows["processes"]`` are those of the last layout, made anew by two processes."""
    rows = {}
    for layout in LAYOUTS:
        write_days(tmp_path / layout, layout)
        dataset = small_dataset(name=f"prepared_{layout}")
        dataset.prepare(tmp_path, tmp_path / layout)
        rows[layout] = gather_all(dataset, tmp_path, "train")
    shutil.rmtree(dataset.folder(tmp_path, "train"))
    dataset.prepare(tmp_path, tmp_path / layout, num_workers=2)
    rows["processes"] = gather_all(dataset, tmp_path, "train")
    for other in rows.values():
        for name, array in other.items():
            np.testing.assert_array_equal(array, rows["compressed"][name])


def test_day_23_is_shared_out_alike_where_it_is_too_short(tmp_path):
    write_days(tmp_path / "originals", "compressed")
    dataset = small_dataset(counts=(10**9, 10**6, 3 * 10**6))
    dataset.prepare(tmp_path, tmp_path / "originals")
    assert [len(dataset.open(tmp_path, split)) for split in SPLITS] == [299, 10, 30]


def test_an_interrupted_preparation_goes_on(tmp_path, monkeypatch):
    write_days(tmp_path / "originals", "compressed")
    dataset = small_dataset()
    write = splits.SplitWriter.write
    written: list[tuple[str, str]] = []

    def interrupt_at_the_tenth(writer, key, *arguments):
        if len(written) == 10:
            raise KeyboardInterrupt
        written.append((writer._folder.name, key))
        return write(writer, key, *arguments)

    monkeypatch.setattr(splits.SplitWriter, "write", interrupt_at_the_tenth)
    with pytest.raises(KeyboardInterrupt):
        dataset.prepare(tmp_path, tmp_path / "originals")
    assert not dataset.is_prepared(tmp_path)
    first = list(written)

    def note(writer, key, *arguments):
        written.append((writer._folder.name, key))
        return write(writer, key, *arguments)

    monkeypatch.setattr(splits.SplitWriter, "write", note)
    dataset.prepare(tmp_path, tmp_path / "originals")
    assert len(first) == 10
    assert not set(first) & set(written[10:])  # nothing is made twice
    whole = small_dataset(name="whole")
    whole.prepare(tmp_path, tmp_path / "originals")
    for split in SPLITS:
        a, b = (gather_all(one, tmp_path, split) for one in (dataset, whole))
        assert all(np.array_equal(a[name], b[name]) for name in FIELDS)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda f: f[:-1], "has 39 fields instead of 40"),
        (lambda f: [*f, b""], "has 41 fields instead of 40"),
        (lambda f: [b""], "has 1 fields instead of 40"),
        (lambda f: [b"2", *f[1:]], "has the label '2' instead of 0 or 1"),
        (lambda f: [b"", *f[1:]], "has the label '' instead of 0 or 1"),
        (lambda f: [*f[:5], b"1.5", *f[6:]], "has '1.5' in column 6, where an integer should be"),
        (lambda f: [*f[:-1], b"0123456G"], "has '0123456G' in column 40, where 8 hex"),
        (lambda f: [*f[:20], b"012345", *f[21:]], "has '012345' in column 21, where 8 hex"),
    ],
)
@pytest.mark.parametrize("layout", ["compressed", "plain"])
def test_a_malformed_line_is_named(tmp_path, layout, change, problem):
    lines = random_lines(30)
    lines[22] = b"\t".join(change(lines[22].removesuffix(b"\n").split(b"\t"))) + b"\n"
    text = b"".join(lines)
    path = tmp_path / ("day_3.gz" if layout == "compressed" else "day_3")
    path.write_bytes(gzip.compress(text) if layout == "compressed" else text)
    with pytest.raises(UserError, match=re.escape(f"{path} line 23 {problem}")):
        list(read_shards(Extent(path, 0, None if layout == "compressed" else len(text)), 3000))


def test_a_cut_compressed_file_is_named(tmp_path):
    path = tmp_path / "day_3.gz"
    path.write_bytes(gzip.compress(b"".join(random_lines(30)))[:-20])
    with pytest.raises(UserError, match=r"day_3\.gz is no complete gzip file"):
        list(read_shards(Extent(path), 3000))


def test_missing_days_are_named_with_where_to_get_them(tmp_path):
    write_days(tmp_path / "originals", "compressed")
    for day in (3, 20):
        (tmp_path / "originals" / f"day_{day}.gz").unlink()
    with pytest.raises(UserError, match=r"lacks day_3, day_20 .*huggingface\.co"):
        small_dataset().prepare(tmp_path, tmp_path / "originals")


@pytest.mark.parametrize("block_bytes", [1, 5, 7, 1000])
def test_each_line_is_in_the_range_in_which_it_begins(tmp_path, monkeypatch, block_bytes):
    """Every way to cut a text in two: no line is lost, none comes twice."""
    monkeypatch.setattr(originals, "BLOCK_BYTES", max(block_bytes, 5))
    text = b"one\n\nthree\nfour\nlast"
    begins = [0, 4, 5, 11, 16]
    for path, content in ((tmp_path / "a", text), (tmp_path / "a.gz", gzip.compress(text))):
        path.write_bytes(content)
        for cut in range(len(text) + 1):
            with LineReader(path) as reader:
                first = b"".join(block.text for block in reader.blocks(cut))
                rest = b"".join(block.text for block in reader.blocks(None))
                assert reader.is_at_end()
            with LineReader(path, cut) as reader:
                second = b"".join(block.text for block in reader.blocks(None))
            assert first + second == text
            assert rest == second
            assert len(first) == min([b for b in begins if b >= cut], default=len(text))


# --- Streams by several processes


def _numbers(first, *, name, fail):
    for number in range(first, 5):
        if fail and number == 3:
            raise UserError(f"{name} is damaged.")
        arrays = {
            "x": np.full(2, number),
            "process": np.full(2, multiprocessing.current_process().pid),
        }
        yield StreamShard(ShardContent(arrays), 1, number == 4)


def _streams(fail=""):
    import functools

    return [
        StreamTask(name, 5, functools.partial(_numbers, name=name, fail=name == fail))
        for name in ("a", "b", "c")
    ]


def _prepare(folder, **options):
    prepare_streams(folder, _streams(**options), identity={}, disk_bytes=1, num_workers=2)


def test_processes_share_the_streams(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "_POLL", 0.05)
    with pytest.raises(UserError, match=r"b is damaged\."):
        _prepare(tmp_path / "split", fail="b")
    assert not (tmp_path / "split").exists()
    # What was written before the failure, in any process, is kept.
    writer = splits.SplitWriter(tmp_path / "split", {})
    written = {path.name.split(".")[0] for path in writer._scratch.glob("*.x.npy")}
    assert {"b_00000", "b_00001", "b_00002"} <= written
    assert all(writer.has(key) for key in written)
    _prepare(tmp_path / "split")
    shards = splits.Split(tmp_path / "split").arrays()
    assert [int(shard["x"][0]) for shard in shards] == [0, 1, 2, 3, 4] * 3
    pids = {int(pid) for shard in shards for pid in shard["process"]}
    assert multiprocessing.current_process().pid not in pids
    assert len(pids) > 2  # of both calls


# --- Reading


def made_up_shards(lengths=(5, 0, 1, 7)):
    generator = np.random.default_rng(0)
    return [
        {
            "inputs": generator.random((n, 13), np.float32),
            "categories": generator.integers(0, hashing.NUM_BUCKETS, (n, 26), np.int32),
            "targets": generator.integers(0, 2, n).astype(np.uint8),
        }
        for n in lengths
    ]


@pytest.mark.parametrize(
    "indices", [[], [0], [12], list(range(13)), [4, 5, 6], [6, 5, 4, 4], [12, 0, 1, 2, 7, 8]]
)
def test_gathered_rows_are_the_rows_at_the_indices(indices):
    shards = made_up_shards()
    rows = ClickLogSource(shards).gather(np.array(indices, np.int64))
    for name in FIELDS:
        whole = np.concatenate([shard[name] for shard in shards])
        expected = whole.reshape(len(whole), *FIELDS[name].shape)[indices]
        np.testing.assert_array_equal(rows[name], expected)
        assert rows[name].dtype == FIELDS[name].dtype


def test_ids_are_rounded_through_float32_only_as_a_quirk(tmp_path):
    exact = np.array([2**24 - 1, 2**24 + 1, 2**25 + 1, 2**25 + 3, 39_979_770], np.int32)
    shards = made_up_shards((5,))
    shards[0]["categories"][:, 0] = exact
    indices = np.arange(5)
    plain = ClickLogSource(shards).gather(indices)["categories"]
    rounded = ClickLogSource(shards, float32_ids=True).gather(indices)["categories"]
    np.testing.assert_array_equal(plain[:, 0], exact)
    assert rounded[:, 0].tolist() == [2**24 - 1, 2**24, 2**25, 2**25 + 4, 39_979_768]
    small = plain < 2**24
    np.testing.assert_array_equal(rounded[small], plain[small])


def test_the_quirk_is_asked_for_by_name(tmp_path):
    write_days(tmp_path / "originals", "plain")
    dataset = small_dataset()
    dataset.prepare(tmp_path, tmp_path / "originals")
    plain = gather_all(dataset, tmp_path, "train")["categories"]
    other = gather_all(dataset, tmp_path, "train", quirks=frozenset({"wer"}))["categories"]
    rounded = gather_all(dataset, tmp_path, "train", quirks=frozenset({"float32_ids"}))
    np.testing.assert_array_equal(plain, other)
    np.testing.assert_array_equal(plain.astype(np.float32).astype(np.int32), rounded["categories"])
    assert (plain != rounded["categories"]).any()


def test_many_files_need_a_limit_that_allows_them(monkeypatch):
    limits = {"now": (1024, 4096)}
    monkeypatch.setattr(source.resource, "getrlimit", lambda kind: limits["now"])
    monkeypatch.setattr(source.resource, "setrlimit", lambda kind, pair: limits.update(now=pair))
    source.allow_open_files(100)
    assert limits["now"] == (1024, 4096)
    source.allow_open_files(2000)
    assert limits["now"] == (2256, 4096)
    with pytest.raises(UserError, match=r"5,000 files.*may open 4,096.*ulimit -Hn 5256"):
        source.allow_open_files(5000)


# --- The small data set


def test_made_up_clicks_have_the_probabilities_that_are_said():
    clicks = mini.make_clicks(200_000, seed=1)
    order = np.argsort(clicks.probabilities)
    for part in np.array_split(order, 10):
        p, share = clicks.probabilities[part], clicks.labels[part].mean()
        assert abs(share - p.mean()) < 5 * np.sqrt((p * (1 - p)).mean() / len(part))
    p = clicks.probabilities
    loss = -np.log(np.where(clicks.labels, p, 1 - p)).mean()
    assert abs(loss - clicks.bayes_loss()) < 0.005
    assert 0.36 < clicks.bayes_loss() < 0.39


def test_made_up_clicks_are_skewed_and_have_gaps():
    clicks = mini.make_clicks(20_000, seed=1)
    counts = np.bincount(clicks.categories[:, 0])
    assert counts[0] > 5 * counts[9] > 10 * counts[50]
    assert 0.1 < (clicks.numbers == -1).mean() < 0.2
    same, other = mini.make_clicks(20_000, seed=1), mini.make_clicks(20_000, seed=2)
    assert all(np.array_equal(*pair) for pair in zip(clicks, same, strict=True))
    assert not np.array_equal(clicks.labels, other.labels)


def test_a_day_is_written_as_criteo_writes_it(tmp_path):
    clicks = mini.make_clicks(50, seed=3)
    mini.write_day(tmp_path / "day_0", clicks)
    rows = [line.split(b"\t") for line in (tmp_path / "day_0").read_bytes().splitlines()]
    assert [int(row[0]) for row in rows] == clicks.labels.tolist()
    assert [[int(f or -1) for f in row[1:14]] for row in rows] == clicks.numbers.tolist()
    fields = {field for row in rows for field in row[14:]}
    assert b"" in fields
    assert all(re.fullmatch(rb"[0-9a-f]{8}", field) for field in fields - {b""})


def test_the_target_lies_between_a_model_without_products_and_the_bayes_loss():
    """The best sum of a function of each field: by least squares on the one-hot fields."""
    target = find_workload("criteo1tb_mini").target.validation
    train, held_out = mini.make_clicks(60_000, seed=5), mini.make_clicks(20_000, seed=6)
    assert held_out.bayes_loss() + 0.03 < target
    additive = additive_loss(train, held_out)
    assert additive > target + 0.03
    frequency = held_out.labels.mean()
    assert additive < -frequency * np.log(frequency) - (1 - frequency) * np.log(1 - frequency)


def additive_loss(train, held_out):
    """Loss of a logistic regression on one-hot categories and counts in bins."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression

    def one_hot(clicks):
        bins = np.where(
            clicks.numbers < 0, 0, 1 + np.digitize(clicks.numbers, 1.5 ** np.arange(20))
        )
        fields = np.hstack([clicks.categories, bins])
        columns = fields + 100 * np.arange(fields.shape[1])
        rows = np.repeat(np.arange(len(fields)), fields.shape[1])
        shape = (len(fields), 100 * fields.shape[1])
        return sparse.csr_matrix((np.ones(fields.size), (rows, columns.ravel())), shape)

    model = LogisticRegression(C=0.1, solver="lbfgs", max_iter=50, tol=1e-3)
    model.fit(one_hot(train), train.labels)
    p = model.predict_proba(one_hot(held_out))[:, 1]
    return -np.log(np.where(held_out.labels, p, 1 - p)).mean()
