"""WMT's data: originals, preparation, packing, the made-up languages and BLEU."""

import itertools
import shutil
import tarfile

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from finishline.data.pipeline import evaluation_batches, training_batches
from finishline.data.splits import MANIFEST
from finishline.errors import UserError
from workloads.subwords import Subwords
from workloads.wmt import language, originals
from workloads.wmt.dataset import TranslationDataset
from workloads.wmt.packing import SIDES, PairSource, fields, pack
from workloads.wmt.scorer import BleuScorer
from workloads.wmt.shape import END_ID

COUNTS = {"train": 40, "validation": 6, "test": 7}
MAX_LENGTH = 64


def make_dataset():
    return TranslationDataset(
        name="wmt",
        num_examples=COUNTS,
        fields=fields(MAX_LENGTH),
        vocab_size=200,
        max_length=MAX_LENGTH,
    )


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archives")
    language.write_originals(folder, COUNTS)
    return folder


@pytest.fixture(scope="module")
def prepared(archives, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("prepared")
    make_dataset().prepare(data_dir, archives)
    return data_dir


def manifests(data_dir):
    return {split: (data_dir / "wmt" / split / MANIFEST).read_text() for split in COUNTS}


def test_tokens_are_the_sentences_in_their_order(prepared):
    dataset = make_dataset()
    pieces = Subwords(dataset.vocabulary(prepared))
    made_up = language.sentences(0)
    for split, count in COUNTS.items():
        source = dataset.open(prepared, split)
        assert len(source) == count
        batch = source.gather(np.arange(count))
        for row, pair in enumerate(itertools.islice(made_up, count)):
            for side, sentence in zip(SIDES, pair, strict=True):
                ids = [*pieces.encode(sentence), END_ID]
                assert batch[side][row, : len(ids)].tolist() == ids
                assert not batch[side][row, len(ids) :].any()
                assert pieces.decode(ids) == sentence
    assert {name: (a.shape[1:], a.dtype.name) for name, a in batch.items()} == {
        name: tuple(field) for name, field in dataset.fields.items()
    }


def test_unpacked_files_and_several_processes_give_the_same(archives, prepared, tmp_path):
    for archive in archives.glob("*.tgz"):
        with tarfile.open(archive) as tar:
            tar.extractall(tmp_path / "loose", filter="data")
    make_dataset().prepare(tmp_path, tmp_path / "loose", num_workers=2)
    assert manifests(tmp_path) == manifests(prepared)
    assert sorted(path.name for path in (tmp_path / "wmt").iterdir()) == sorted(
        [*COUNTS, "vocabulary.model"]
    )


def test_a_missing_split_is_made_with_the_old_vocabulary(archives, prepared, tmp_path):
    shutil.copytree(prepared / "wmt", tmp_path / "wmt")
    shutil.rmtree(tmp_path / "wmt" / "test")
    (tmp_path / "some").mkdir()
    shutil.copy(archives / "dev.tgz", tmp_path / "some")  # training text is not needed
    make_dataset().prepare(tmp_path, tmp_path / "some")
    assert manifests(tmp_path) == manifests(prepared)


def test_all_is_made_anew_where_the_vocabulary_is_missing(archives, prepared, tmp_path):
    shutil.copytree(prepared / "wmt", tmp_path / "wmt")
    (tmp_path / "wmt" / "vocabulary.model").unlink()
    assert not make_dataset().is_prepared(tmp_path)
    make_dataset().prepare(tmp_path, archives)
    assert make_dataset().is_prepared(tmp_path)
    assert manifests(tmp_path) == manifests(prepared)


def test_missing_and_damaged_originals_are_named(archives, tmp_path):
    some = tmp_path / "some"
    shutil.copytree(archives, some)
    (some / "rapid2016.tgz").unlink()
    with pytest.raises(UserError, match=r"no rapid2016\.tgz in .*statmt\.org"):
        make_dataset().prepare(tmp_path, some)
    content = (archives / "rapid2016.tgz").read_bytes()
    (some / "rapid2016.tgz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"rapid2016\.tgz is damaged"):
        make_dataset().prepare(tmp_path, some)
    (some / "rapid2016.tgz").write_bytes((archives / "dev.tgz").read_bytes())
    with pytest.raises(UserError, match=r"rapid2016\.tgz lacks rapid2016\.de-en\.de, rapid2016"):
        make_dataset().prepare(tmp_path, some)
    assert not (tmp_path / "wmt" / "train").exists()


def write_pair(folder, source, target, suffix="de-en.de"):
    paths = folder / f"one.{suffix}", folder / "one.de-en.en"
    for path, content in zip(paths, (source, target), strict=True):
        path.write_bytes(content)
    return originals.Text("one", paths)


def test_pairs_without_a_side_are_left_out(tmp_path):
    text = write_pair(tmp_path, b"a\n\nc \xe2\x80\xa8d\ne\n", b"A\nB\n C\r\n  \n")
    assert list(originals.pairs(text)) == [("a", "A"), ("c \u2028d", "C")]


def test_uneven_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"one\.de-en\.en has 1 sentences and .*de-en\.de has more"):
        list(originals.pairs(write_pair(tmp_path, b"a\nb\n", b"A\n")))
    with pytest.raises(UserError, match=r"one\.de-en\.de is no text in UTF-8"):
        list(originals.pairs(write_pair(tmp_path, b"a\xff\n", b"A\n")))


def test_sgml_is_read_with_its_entities(tmp_path):
    content = b'<refset>\n<SEG id="1">A &amp; B </SEG>\n<seg id="2">C\nD</seg></refset>'
    paths = (tmp_path / "a.sgm", tmp_path / "b.sgm")
    for path in paths:
        path.write_bytes(content)
    pairs = list(originals.pairs(originals.Text("a", paths)))
    assert pairs == [("A & B", "A & B"), ("C\nD", "C\nD")]


def test_a_corpus_goes_on_after_its_finished_shards(archives, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr("workloads.wmt.dataset._SHARD_PAIRS", 3)
    dataset, original = make_dataset(), originals.pairs

    def interrupted(text):
        for number, pair in enumerate(original(text)):
            if text.name == "commoncrawl" and number == 7:
                raise KeyboardInterrupt
            yield pair

    shutil.copytree(prepared / "wmt", tmp_path / "wmt")
    shutil.rmtree(tmp_path / "wmt" / "train")
    monkeypatch.setattr(originals, "pairs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dataset.prepare(tmp_path, archives)
    monkeypatch.setattr(originals, "pairs", original)
    dataset.prepare(tmp_path, archives)
    indices = np.arange(COUNTS["train"])
    sharded, whole = (dataset.open(d, "train").gather(indices) for d in (tmp_path, prepared))
    for name, expected in whole.items():
        np.testing.assert_array_equal(sharded[name], expected)


def made_up_source(lengths, max_length, num_shards=2):
    """Pairs of given lengths whose tokens tell the pair and the place."""
    shards = []
    for part in np.array_split(np.arange(len(lengths)), num_shards):
        shard = {}
        for side, name in enumerate(SIDES):
            tokens = [1 + i * 100 + np.arange(lengths[i][side]) for i in part]
            shard[name] = np.concatenate([np.empty(0, np.int64), *tokens]).astype(np.uint16)
            shard[f"{name}_ends"] = np.cumsum([lengths[i][side] for i in part], dtype=np.int64)
        shards.append(shard)
    return PairSource(shards, max_length)


def unpacked(batch):
    """The pairs of a batch, as tuples of tokens, in their order."""
    pairs = []
    for row in range(len(batch["inputs"])):
        number = batch["inputs_segmentation"][row].max()
        assert batch["targets_segmentation"][row].max() == number
        for segment in range(1, number + 1):
            pair = []
            for side in SIDES:
                (places,) = np.nonzero(batch[f"{side}_segmentation"][row] == segment)
                assert (np.diff(places) == 1).all()
                positions = batch[f"{side}_position"][row, places]
                np.testing.assert_array_equal(positions, np.arange(len(places)))
                pair.append(tuple(batch[side][row, places].tolist()))
            pairs.append(tuple(pair))
        for side in SIDES:
            is_filling = batch[f"{side}_segmentation"][row] == 0
            assert not batch[side][row, is_filling].any()
            assert not batch[f"{side}_position"][row, is_filling].any()
    np.testing.assert_array_equal(batch["weights"], batch["targets"] > 0)
    return pairs


LENGTHS = st.lists(st.tuples(st.integers(1, 14), st.integers(1, 14)), min_size=2, max_size=30)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 4), st.integers(0, 2**32))
def test_packing_loses_and_doubles_no_token(lengths, batch_size, seed):
    """Over two epochs and more: each pair that fits comes once an epoch, whole; others never."""
    lengths[0] = (3, 4)  # something fits
    source = made_up_source(lengths, max_length=12)
    batches = source.training_batches(batch_size=batch_size, seed=seed)
    seen = []
    while batches.position < 2 * len(lengths):
        before = batches.position
        pairs = unpacked(next(batches))
        assert batches.position > before
        seen += pairs
    index = {i: None for i, pair in enumerate(lengths) if max(pair) <= 12}
    numbers = [(pair[0][0] - 1) // 100 for pair in seen]
    for number, pair in zip(numbers, seen, strict=True):
        assert tuple(map(len, pair)) == lengths[number]
        for side in pair:
            assert side == tuple(1 + number * 100 + np.arange(len(side)))
    for epoch in range(2):
        once = numbers[epoch * len(index) : (epoch + 1) * len(index)]
        assert sorted(once) == list(index)


@settings(max_examples=30, deadline=None)
@given(LENGTHS, st.integers(0, 2**32))
def test_batches_depend_on_the_position_alone_and_ranks_share_them(lengths, seed):
    lengths[0] = (3, 4)
    source = made_up_source(lengths, max_length=12)
    batches = training_batches(source, batch_size=4, seed=seed)
    for _ in range(5):
        position = batches.position
        batch = next(batches)
        fresh = training_batches(source, batch_size=4, seed=seed, position=position)
        ranks = [
            training_batches(
                source, batch_size=4, seed=seed, position=position, rank=rank, world_size=2
            )
            for rank in range(2)
        ]
        parts = [next(rank) for rank in ranks]
        again = next(fresh)
        assert {one.position for one in (fresh, *ranks)} == {batches.position}
        for name, expected in batch.items():
            np.testing.assert_array_equal(again[name], expected)
            np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), expected)


def test_rows_are_as_full_as_the_order_allows():
    starts = pack(np.array([5, 5, 3, 9, 1, 1, 9]), np.array([1, 1, 1, 1, 9, 1, 1]), 3, 10)
    assert starts.tolist() == [0, 2, 3, 5]
    assert pack(np.array([5, 5]), np.array([5, 5]), 1, 10) is None  # another may fit


def test_a_source_without_a_pair_that_fits_is_an_error():
    source = made_up_source([(5, 30), (30, 5)], max_length=12)
    with pytest.raises(ValueError, match="No pair"):
        next(source.training_batches(batch_size=2, seed=0))


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_evaluation_has_every_pair_once_and_cuts_what_is_too_long(batch_size):
    lengths = [(3, 2), (20, 2), (1, 20), (12, 12), (5, 5), (3, 3), (2, 9), (7, 7), (1, 1)]
    source = made_up_source(lengths, max_length=12)
    pairs = []
    for batch in evaluation_batches(source, batch_size):
        assert {len(array) for array in batch.values()} == {batch_size}
        valid = batch["weights"].any(axis=1)
        assert (batch["inputs_segmentation"].max(axis=1) == valid).all()
        pairs += unpacked(batch)
    expected = [
        tuple(tuple(1 + i * 100 + np.arange(min(n, 12))) for n in pair)
        for i, pair in enumerate(lengths)
    ]
    assert sorted(pairs) == sorted(expected)


def test_the_made_up_language_is_reproducible_and_follows_its_rules():
    pairs = list(itertools.islice(language.sentences(3), 500))
    assert pairs == list(itertools.islice(language.sentences(3), 500))
    assert pairs != list(itertools.islice(language.sentences(4), 500))
    assert len({source for source, _ in pairs}) == 500
    verbs = {verb for verb, _ in language._VERBS}
    assert all(source.split()[-2] in verbs for source, _ in pairs)
    assert language._number(27) == ("sep und venti", "twenty seven")
    assert language._number(30) == ("trenti", "thirty")
    assert language._number(9) == ("nau", "nine")


@pytest.mark.parametrize("batch_size", [1, 5, 16, 64])
def test_bleu_is_that_of_sacrebleu_on_the_whole_split(prepared, batch_size):
    dataset = make_dataset()
    source = dataset.open(prepared, "train")
    pieces = Subwords(dataset.vocabulary(prepared))
    generator = np.random.default_rng(0)
    translations = {}
    for index in range(len(source)):  # the reference with some words dropped or exchanged
        row = source.gather(np.array([index]))
        words = row["targets"][0][: int(row["weights"].sum()) - 1]
        changed = np.where(generator.random(len(words)) < 0.1, words[::-1], words)
        tokens = np.zeros(MAX_LENGTH, np.int32)
        kept = changed[generator.random(len(words)) < 0.95]
        tokens[: len(kept)] = kept
        tokens[len(kept)] = END_ID
        tokens[len(kept) + 1 :] = 9  # not looked at
        translations[row["inputs"][0].tobytes()] = tokens
    scorer = BleuScorer(Subwords(dataset.vocabulary(prepared)))
    for batch in evaluation_batches(source, batch_size):
        found = [translations.get(row.tobytes(), np.full(MAX_LENGTH, 9)) for row in batch["inputs"]]
        scorer.add(batch, {"tokens": np.stack(found)})
    whole = source.gather(np.arange(len(source)))
    hypotheses = [
        pieces.decode(tokens[: tokens.tolist().index(END_ID)].tolist())
        for tokens in (translations[row.tobytes()] for row in whole["inputs"])
    ]
    references = [pieces.decode(row[row > 0].tolist()) for row in whole["targets"]]
    expected = sacrebleu.corpus_bleu(hypotheses, [references], force=True).score
    assert 5 < expected < 95
    assert scorer.result()["bleu"] == pytest.approx(expected, abs=1e-9)


def test_sentences_without_an_end_and_unknown_pieces_are_scored(prepared):
    scorer = BleuScorer(Subwords(make_dataset().vocabulary(prepared)))
    assert np.isnan(scorer.result()["bleu"])
    batch = make_dataset().open(prepared, "test").gather(np.arange(2))
    scorer.add(batch, {"tokens": np.full((2, MAX_LENGTH), 5_000)})
    assert 0 <= scorer.result()["bleu"] < 5
    scorer.add(batch, {"tokens": batch["targets"]})
    assert scorer.result()["bleu"] > 5
