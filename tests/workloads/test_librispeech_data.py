"""LibriSpeech's data: from the original archives to batches."""

import io
import shutil
import tarfile

import numpy as np
import pytest
import soundfile

from finishline.data.pipeline import evaluation_batches, training_batches
from finishline.data.splits import verify_split
from finishline.errors import UserError
from finishline.workload import SPLITS
from workloads.librispeech import formants, originals
from workloads.librispeech.dataset import LibriSpeech
from workloads.subwords import LIBRARY_IDS, Subwords

COUNTS = {"train": 40, "validation": 9, "test": 6}
LENGTHS = (12_800, 20_480, 38_400)


def dataset(**changes):
    attributes = {"evaluation_lengths": LENGTHS, "max_tokens": 40, "max_characters": 40}
    attributes |= {"name": "librispeech", "num_examples": COUNTS, "fields": {}, "vocab_size": 40}
    return LibriSpeech(**(attributes | changes))


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    formants.write_archives(folder, COUNTS, num_words=(1, 4))
    return folder


@pytest.fixture(scope="module")
def prepared(archives, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    dataset().prepare(folder, archives)
    return folder


def unpack(archives, folder):
    for path in archives.glob("*.tar.gz"):
        with tarfile.open(path) as tar:
            tar.extractall(folder, filter="data")
    return folder


def change(archives, folder, part, new_content):
    """Copies of all archives, one of them with other files."""
    shutil.copytree(archives, folder)
    name = f"{part}.tar.gz"
    with tarfile.open(archives / name) as old, tarfile.open(folder / name, "w:gz") as new:
        for member in old:
            content = new_content(member.name, old.extractfile(member).read())
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
    return folder


def everything(data_dir, split, **changes):
    source = dataset(**changes).open(data_dir, split)
    return source.gather(np.arange(len(source)))


def assert_same_data(one, other):
    for split in SPLITS:
        for name, values in everything(one, split).items():
            np.testing.assert_array_equal(values, everything(other, split)[name])


def original_utterances(folder, split):
    """Words and samples of a split's utterances, from the unpacked files."""
    for part in originals.PARTS[split]:
        for path in sorted((folder / "LibriSpeech" / part).rglob("*.trans.txt")):
            for line in path.read_text().splitlines():
                name, words = line.split(" ", 1)
                yield words, soundfile.read(path.with_name(f"{name}.flac"), dtype="int16")[0]


def test_samples_and_words_are_the_originals(archives, prepared, tmp_path):
    unpack(archives, tmp_path)
    pieces = Subwords(dataset().vocabulary(prepared))
    for split in SPLITS:
        batch = everything(prepared, split)
        found = list(original_utterances(tmp_path, split))
        assert len(found) == len(batch["inputs"]) == COUNTS[split]
        for i, (words, samples) in enumerate(found):
            assert batch["input_lengths"][i] == len(samples)
            np.testing.assert_array_equal(batch["inputs"][i, : len(samples)], samples)
            assert not batch["inputs"][i, len(samples) :].any()
            ids = batch["targets"][i]
            count = np.count_nonzero(ids)
            assert ids[:count].all()  # 0 is CTC's blank, and filling alone
            assert ids[count - 1] == LIBRARY_IDS.end
            assert pieces.decode(ids[:count].tolist()) == words


def test_splits_are_verified(prepared):
    for split, count in COUNTS.items():
        assert verify_split(dataset().folder(prepared, split)) == count


def test_folders_and_several_processes_give_the_same(archives, prepared, tmp_path):
    folder = unpack(archives, tmp_path / "unpacked")
    dataset().prepare(tmp_path / "data", folder, num_workers=2)
    assert_same_data(prepared, tmp_path / "data")


def test_many_shards_give_the_same_and_go_on(archives, prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(originals, "_SHARD_BYTES", 100_000)
    made = []

    def interrupted(self, files, transcripts):
        made.append(files[0][0])
        if len(made) == 4:
            raise KeyboardInterrupt
        return content(self, files, transcripts)

    content = originals.Reader.content
    monkeypatch.setattr(originals.Reader, "content", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dataset().prepare(tmp_path, archives)
    dataset().prepare(tmp_path, archives)
    assert len(made) == len(set(made)) + 1  # the one that was under way is made again
    assert len(made) > 8
    assert_same_data(prepared, tmp_path)


def test_long_utterances_and_transcripts_are_left_out(archives, tmp_path):
    unpack(archives, tmp_path)
    found = list(original_utterances(tmp_path, "train"))
    lengths = np.array([len(samples) for _, samples in found])
    characters = np.array([len(words) for words, _ in found])
    limit = int(np.median(lengths))
    short = dataset(evaluation_lengths=(limit,), max_characters=12)
    short.prepare(tmp_path / "data", archives)
    kept = (lengths <= limit) & (characters <= 12)
    source = short.open(tmp_path / "data", "train")
    assert 0 < len(source) < COUNTS["train"]
    np.testing.assert_array_equal(source.num_samples, lengths[kept])


def test_the_vocabulary_is_of_the_first_part_and_always_the_same(archives, prepared, tmp_path):
    changed = change(
        archives,
        tmp_path / "changed",
        "train-other-500",
        lambda name, old: old.replace(b"KATO", b"KIMU") if name.endswith(".txt") else old,
    )
    dataset().prepare(tmp_path / "data", changed)
    files = [dataset().vocabulary(folder) for folder in (prepared, tmp_path / "data")]
    assert files[0].read_bytes() == files[1].read_bytes()


def drop_one(name, content):
    return None if name.endswith("-0002.flac") else content


def unknown_letter(name, content):
    return content.replace(b"A", b"Q") if name.endswith(".txt") else content


def no_audio(name, content):
    return content[:100] if name.endswith("-0001.flac") else content


def two_channels(name, content):
    if not name.endswith(".flac"):
        return content
    file = io.BytesIO()
    soundfile.write(file, np.zeros((100, 2), np.int16), 16_000, "PCM_16", format="FLAC")
    return file.getvalue()


def no_text(name, content):
    return None if name.endswith(".txt") else content


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_one, "audio of 5 of the 6 utterances"),
        (unknown_letter, "a character that is in no transcript"),
        (no_audio, "-0001.flac in it is no audio"),
        (two_channels, "2 channels and 16000 samples"),
        (no_text, "has no transcripts"),
        (lambda name, old: old.split(b" ")[0] if name.endswith(".txt") else old, "the line"),
    ],
)
def test_damage_is_named(archives, tmp_path, damage, message):
    changed = change(archives, tmp_path / "changed", "test-clean", damage)
    with pytest.raises(UserError, match=message) as raised:
        dataset().prepare(tmp_path / "data", changed)
    assert "test-clean" in str(raised.value)
    assert not dataset().folder(tmp_path / "data", "test").exists()


def test_a_truncated_archive_is_named(archives, tmp_path):
    shutil.copytree(archives, tmp_path / "cut")
    path = tmp_path / "cut" / "dev-other.tar.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"dev-other.tar.gz is truncated or damaged"):
        dataset().prepare(tmp_path / "data", tmp_path / "cut")


def test_what_is_missing_is_downloaded(archives, tmp_path, monkeypatch):
    shutil.copytree(archives, tmp_path / "some")
    (tmp_path / "some" / "dev-clean.tar.gz").unlink()
    asked = []

    def download(original, path):
        asked.append(original)
        shutil.copy(archives / path.name, path)

    monkeypatch.setattr(originals, "download", download)
    dataset().prepare(tmp_path / "data", tmp_path / "some")
    assert [original.url for original in asked] == [
        "https://www.openslr.org/resources/12/dev-clean.tar.gz"
    ]


def keys(batch):
    """An identity of each utterance of a batch that is no filling."""
    weights = batch.get("weights", np.ones(len(batch["inputs"])))
    rows = zip(batch["inputs"], batch["targets"], weights, strict=True)
    return [hash((np.trim_zeros(x).tobytes(), y.tobytes())) for x, y, w in rows if w]


@pytest.mark.parametrize("batch_size", [1, 4, 7, 64])
def test_evaluation_has_each_utterance_once_and_few_lengths(prepared, batch_size):
    source = dataset().open(prepared, "train")
    batches = list(evaluation_batches(source, batch_size))
    seen = [key for batch in batches for key in keys(batch)]
    assert sorted(seen) == sorted(keys(source.gather(np.arange(len(source)))))
    assert {batch["inputs"].shape for batch in batches} == {(batch_size, n) for n in LENGTHS}
    for batch in batches:
        assert (batch["input_lengths"] <= batch["inputs"].shape[1]).all()
        assert batch["weights"].sum() == (batch["input_lengths"] > 0).sum()


def test_training_has_one_length_and_goes_on_anywhere(prepared):
    source = dataset().open(prepared, "train")
    batches = training_batches(source, batch_size=8, seed=3)
    first = [next(batches) for _ in range(10)]
    assert {batch["inputs"].shape for batch in first} == {(8, LENGTHS[-1])}
    seen = [key for batch in first[:5] for key in keys(batch)]
    assert sorted(seen) == sorted(keys(source.gather(np.arange(len(source)))))
    later = training_batches(source, batch_size=8, seed=3, position=56)
    np.testing.assert_array_equal(next(later)["inputs"], first[7]["inputs"])
    halves = [
        next(training_batches(source, batch_size=8, seed=3, rank=rank, world_size=2))
        for rank in range(2)
    ]
    for name, values in first[0].items():
        np.testing.assert_array_equal(np.concatenate([half[name] for half in halves]), values)
