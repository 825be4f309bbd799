"""FineWeb-Edu: from documents to windows of tokens."""

import json
import random
import shutil

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from pyarrow import parquet

from finishline.data import splits
from finishline.errors import UserError
from finishline.workload import SPLITS, find_workload
from workloads import prepare
from workloads.finewebedu_lm import dataset as dataset_module
from workloads.finewebedu_lm import grammar, made_up
from workloads.finewebedu_lm.dataset import FineWebEdu, fields
from workloads.finewebedu_lm.originals import find_files
from workloads.finewebedu_lm.source import WindowSource
from workloads.finewebedu_lm.tokens import END_OF_TEXT, make_shard, split_of
from workloads.samples import prepare_sample

LENGTH = 12
VOCAB_SIZE = 1_000
SHARES = {"validation": 0.2, "test": 0.2, "train": 0.5}
NUM_FILES, NUM_DOCUMENTS = 3, 60


def small_dataset(**options):
    return FineWebEdu(
        name="texts",
        num_examples=dict.fromkeys(SPLITS, 10**6),
        fields=fields(LENGTH),
        length=LENGTH,
        vocab_size=VOCAB_SIZE,
        shares=SHARES,
        documents_per_shard=20,
        **options,
    )


def random_text(generator):
    """Words of letters, some of them of several bytes; may be empty."""
    letters = list("abcdefgh    .\näß語🙂")
    return "".join(generator.choice(letters, generator.integers(0, 60)))


def make_texts():
    """The documents of each file; every tenth is one of the first file's."""
    generator = np.random.default_rng(0)
    files = []
    for _ in range(NUM_FILES):
        texts = [random_text(generator) for _ in range(NUM_DOCUMENTS)]
        texts[::10] = [(files or [texts])[0][i] for i in range(0, NUM_DOCUMENTS, 10)]
        files.append(texts)
    return files


@pytest.fixture(scope="module")
def texts():
    return make_texts()


@pytest.fixture(scope="module")
def originals(tmp_path_factory, texts):
    """A folder of files as they are distributed."""
    folder = tmp_path_factory.mktemp("originals")
    made_up.write_tokenizer(folder / "tokenizer.json", VOCAB_SIZE)
    for number, of_file in enumerate(texts):
        path = folder / "sample" / f"{number:03d}_00000.parquet"
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(pa.table({"text": of_file, "id": of_file}), path, row_group_size=7)
    return folder


def tokens_of(originals, texts, split):
    """All tokens of a split, one document after the other, in plain Python."""
    tokenizer = tokenizers.Tokenizer.from_file(str(originals / "tokenizer.json"))
    end = tokenizer.token_to_id(END_OF_TEXT)
    documents = [text for of_file in texts for text in of_file if split_of(text, SHARES) == split]
    return [token for text in documents for token in [*tokenizer.encode(text).ids, end]]


def gathered(source):
    batch = source.gather(np.arange(len(source)))
    assert {name: (a.shape[1:], str(a.dtype)) for name, a in batch.items()} == {
        name: tuple(field) for name, field in fields(LENGTH).items()
    }
    np.testing.assert_array_equal(batch["inputs"][:, 1:], batch["targets"][:, :-1])
    return np.concatenate([batch["inputs"], batch["targets"][:, -1:]], axis=1)


# --- Splits


def test_windows_cover_the_documents_of_a_split_in_their_order(tmp_path, originals, texts):
    dataset = small_dataset()
    dataset.prepare(tmp_path, originals)
    for split in SPLITS:
        tokens = tokens_of(originals, texts, split)
        windows = gathered(dataset.open(tmp_path, split))
        assert len(windows) == len(tokens) // (LENGTH + 1) > 10
        np.testing.assert_array_equal(windows.reshape(-1), tokens[: windows.size])
        shards = splits.Split(dataset.folder(tmp_path, split))
        assert len(shards.lengths) == NUM_FILES * 3
        assert len(shards) == len(tokens)


def test_no_document_lies_in_two_splits(originals, tmp_path):
    """What stands between the ends of documents, decoded, in the prepared tokens."""
    dataset = small_dataset()
    dataset.prepare(tmp_path, originals)
    tokenizer = tokenizers.Tokenizer.from_file(str(originals / "tokenizer.json"))
    found = {}
    for split in SPLITS:
        shards = splits.Split(dataset.folder(tmp_path, split)).arrays()
        tokens = np.concatenate([shard["tokens"] for shard in shards]).tolist()
        text = tokenizer.decode(tokens, skip_special_tokens=False)
        found[split] = text.split(END_OF_TEXT)[:-1]
        assert len(found[split]) > 15
    documents = [set(of_split) for of_split in found.values()]
    assert sum(map(len, documents)) == len(set.union(*documents))
    assert sum(map(len, found.values())) > sum(map(len, documents)), "copies are in one split"


def test_shares_are_kept_and_what_is_left_belongs_to_no_split():
    drawn = [split_of(f"document {number}", SHARES) for number in range(20_000)]
    for split, share in [*SHARES.items(), (None, 0.1)]:
        assert abs(drawn.count(split) / len(drawn) - share) < 0.015


def test_the_split_of_a_document_never_changes():
    """It decides what is in a data set that others have prepared."""
    assert [split_of(text, SHARES) for text in ("", "a", "b", "ä", "語", "c", "d", "e")] == GOLDEN


GOLDEN = ["train", "test", "train", None, "train", "test", "train", "validation"]


def test_a_split_has_no_more_windows_than_it_should(tmp_path, originals):
    dataset = small_dataset()
    dataset.prepare(tmp_path, originals)
    everything = gathered(dataset.open(tmp_path, "train"))
    dataset.num_examples = dict.fromkeys(SPLITS, 5)
    np.testing.assert_array_equal(gathered(dataset.open(tmp_path, "train")), everything[:5])


# --- Reading


@pytest.mark.parametrize("lengths", [(100,), (1, 0, 2, 40, 0, 13, 13, 25), (5, 5), (0, 30, 0)])
def test_a_window_may_go_on_in_other_shards(lengths):
    tokens = np.arange(1000, 1000 + sum(lengths), dtype=np.uint16)
    shards = np.split(tokens, np.cumsum(lengths)[:-1])
    source = WindowSource(shards, LENGTH, 10**6)
    assert len(source) == sum(lengths) // (LENGTH + 1)
    indices = np.random.default_rng(0).permutation(len(source))
    batch = source.gather(indices)
    expected = tokens[: len(source) * (LENGTH + 1)].reshape(-1, LENGTH + 1)[indices]
    np.testing.assert_array_equal(batch["inputs"], expected[:, :-1])
    np.testing.assert_array_equal(batch["targets"], expected[:, 1:])


def test_the_last_token_of_16_bits_is_read_as_it_is():
    source = WindowSource([np.full(LENGTH + 1, 2**16 - 1, np.uint16)], LENGTH, 1)
    assert source.gather(np.array([0]))["inputs"].max() == 2**16 - 1


# --- Originals that hold tokens


def write_tokens(folder, originals, texts, suffix):
    """The same documents as AlgoPerf's set-up leaves them: tokens with an end to each."""
    shutil.copy(originals / "tokenizer.json", folder)
    tokenizer = tokenizers.Tokenizer.from_file(str(originals / "tokenizer.json"))
    end = tokenizer.token_to_id(END_OF_TEXT)
    for number, of_file in enumerate(texts):
        tokens = [[*tokenizer.encode(text).ids, end] for text in of_file]
        table = pa.table({"input_ids": pa.array(tokens, pa.list_(pa.int64()))})
        path = folder / f"data-{number:05d}-of-{len(texts):05d}.{suffix}"
        if suffix == "parquet":
            parquet.write_table(table, path, row_group_size=7)
        else:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
                out.write_table(table, max_chunksize=7)


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_tokens_make_the_same_splits_as_texts(tmp_path, originals, texts, suffix):
    folder = tmp_path / "tokens"
    folder.mkdir()
    write_tokens(folder, originals, texts, suffix)
    dataset = small_dataset()
    dataset.prepare(tmp_path / "a", originals)
    dataset.prepare(tmp_path / "b", folder)
    for split in SPLITS:
        expected = gathered(dataset.open(tmp_path / "a", split))
        np.testing.assert_array_equal(gathered(dataset.open(tmp_path / "b", split)), expected)


def test_tokens_of_another_vocabulary_are_found(tmp_path, originals):
    shutil.copy(originals / "tokenizer.json", tmp_path)
    path = tmp_path / "data.parquet"
    parquet.write_table(pa.table({"input_ids": [[1, 2], [3, VOCAB_SIZE]]}), path)
    with pytest.raises(UserError, match=r"data.parquet has the token 1,000, and .* ends at 999"):
        small_dataset().prepare(tmp_path / "prepared", tmp_path)


# --- Going on, several processes, and what goes wrong


def test_an_interrupted_preparation_goes_on(tmp_path, originals, monkeypatch):
    dataset = small_dataset()
    made = []

    def stop_at_fourth(piece, *arguments):
        made.append(piece)
        if len(made) == 4:
            raise KeyboardInterrupt
        return make_shard(piece, *arguments)

    monkeypatch.setattr(dataset_module, "make_shard", stop_at_fourth)
    with pytest.raises(KeyboardInterrupt):
        dataset.prepare(tmp_path, originals)
    assert dataset.missing_splits(tmp_path) == list(SPLITS)
    made[:] = [None] * 4
    dataset.prepare(tmp_path, originals)
    assert len(made) - 4 == 3 * 9 - 3, "three shards were there"
    fresh = small_dataset()
    fresh.prepare(tmp_path / "fresh", originals)
    for split in SPLITS:
        expected = gathered(fresh.open(tmp_path / "fresh", split))
        np.testing.assert_array_equal(gathered(dataset.open(tmp_path, split)), expected)


def test_several_processes_make_the_same(tmp_path, originals):
    dataset = small_dataset()
    dataset.prepare(tmp_path / "one", originals)
    dataset.prepare(tmp_path / "two", originals, num_workers=2)
    for split in SPLITS:
        manifests = [
            json.loads((dataset.folder(tmp_path / name, split) / splits.MANIFEST).read_text())
            for name in ("one", "two")
        ]
        assert manifests[0] == manifests[1]


def copy_originals(originals, folder):
    shutil.copytree(originals, folder)
    return folder, sorted(folder.glob("sample/*.parquet"))


def no_files(folder, files):
    for path in files:
        path.unlink()


def no_tokenizer(folder, files):
    (folder / "tokenizer.json").unlink()


def another_tokenizer(folder, files):
    made_up.write_tokenizer(folder / "tokenizer.json", 300)


def damaged_tokenizer(folder, files):
    (folder / "tokenizer.json").write_text("{}")


def cut_file(folder, files):
    files[1].write_bytes(files[1].read_bytes()[:-100])


def damaged_page(folder, files):
    content = bytearray(files[1].read_bytes())
    content[10:200] = bytes(190)
    files[1].write_bytes(content)


def other_columns(folder, files):
    parquet.write_table(pa.table({"words": ["a"]}), files[1])


def missing_text(folder, files):
    parquet.write_table(pa.table({"text": ["a", None]}), files[1])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (no_files, r"There are no .parquet files with documents in .*hf download"),
        (no_tokenizer, r"There are no tokenizer.json in .*openai-community/gpt2"),
        (another_tokenizer, r"tokenizer.json has 300 tokens instead of 1,000"),
        (damaged_tokenizer, r"tokenizer.json is no tokenizer"),
        (cut_file, r"001_00000.parquet is damaged or incomplete"),
        (damaged_page, r"001_00000.parquet is damaged or incomplete"),
        (other_columns, r"001_00000.parquet has neither a column 'text' nor 'input_ids'"),
        (missing_text, r"001_00000.parquet has a row without 'text'"),
    ],
)
def test_errors_name_the_file_and_the_remedy(tmp_path, originals, harm, message):
    harm(*copy_originals(originals, tmp_path / "originals"))
    with pytest.raises(UserError, match=message) as caught:
        small_dataset().prepare(tmp_path, tmp_path / "originals")
    assert "\n" not in str(caught.value)
    assert small_dataset().missing_splits(tmp_path) == list(SPLITS)


def test_files_in_hidden_folders_are_passed_over(tmp_path, originals):
    """There the program that downloads keeps what is not complete."""
    folder, files = copy_originals(originals, tmp_path / "originals")
    hidden = folder / ".cache" / "half.parquet"
    hidden.parent.mkdir()
    hidden.write_bytes(b"half")
    assert find_files(folder) == files


# --- Made-up files


def test_files_for_tests_have_the_full_format(tmp_path, capsys):
    workload = find_workload("finewebedu_lm")
    prepare_sample(workload, tmp_path, num_train=5, num_test=2)
    (path,) = tmp_path.glob("finewebedu/sample/10BT/*.parquet")
    assert parquet.read_schema(path).names[:2] == ["text", "id"]
    for split, count in {"train": 5, "validation": 2, "test": 2}.items():
        batch = workload.open(tmp_path, split).gather(np.arange(count))
        assert batch["inputs"].shape == (count, 1024)
        assert 256 < batch["inputs"].max() < 50_257
    assert prepare.main(["finewebedu_lm", "--verify", "--data_dir", str(tmp_path)]) == 0
    output = capsys.readouterr()
    num_train = len(workload.open(tmp_path, "train"))
    assert f"finewebedu: {num_train} train examples in" in output.out
    assert f"finewebedu/train has {num_train} examples; the whole data set has 8,749,870" in (
        output.err
    )


def test_the_mini_data_set_has_the_windows_that_it_claims(tmp_path):
    dataset = find_workload("finewebedu_lm_mini").dataset
    dataset.prepare(tmp_path)
    for split, count in dataset.num_examples.items():
        assert len(dataset.open(tmp_path, split)) == count
    inputs = dataset.open(tmp_path, "train").gather(np.arange(100))["inputs"]
    tokenizer_file = tmp_path / "tokenizer.json"
    made_up.write_tokenizer(tokenizer_file, 257)
    tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer_file))
    text = tokenizer.decode(inputs.reshape(-1).tolist())
    assert "Boxes" in text
    assert inputs.max() == 256, "the end of a document"


def test_sentences_of_the_grammar_agree_over_distances():
    generator = random.Random(0)
    for _ in range(200):
        lines = grammar.document(generator).splitlines()
        people = [line.split() for line in lines[:2]]  # "Ada the baker of Bern has a red kite."
        colours = {words[2]: words[7] for words in people}
        for line in lines[2:]:
            if " is " in line:  # "The kite of the baker is red."
                words = line.removesuffix(".").split()
                assert colours[words[4]] == words[-1]
            if line.startswith("Boxes"):
                assert is_balanced(line.removeprefix("Boxes ").removesuffix("."))


def is_balanced(text):
    while text:
        shorter = text
        for pair in ("()", "[]", "{}", "<>"):
            shorter = shorter.replace(pair, "")
        if shorter == text:
            return False
        text = shorter
    return True
