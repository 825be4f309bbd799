"""CIFAR-10: its archives, its splits, and the augmentation against a slow one."""

import io
import os
import pickle

import numpy as np
import pytest

from finishline.data.download import Original
from finishline.data.keyed import ExampleRandom
from finishline.data.pipeline import TrainingBatches
from finishline.data.sources import ArraySource
from finishline.errors import UserError
from finishline.workload import find_workload
from workloads.cifar import archive, dataset, sample
from workloads.cifar.dataset import CifarDataset, ImageSource

NUM_TRAIN, NUM_TEST = 103, 20


def cifar10():
    return CifarDataset(name="cifar10", num_examples={"train": 93, "validation": 10, "test": 20})


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A data directory with both archives of the same made-up images."""
    folder = tmp_path_factory.mktemp("data")
    for as_pickles in (True, False):
        sample.write_originals(
            folder, num_train=NUM_TRAIN, num_test=NUM_TEST, as_pickles=as_pickles
        )
    return folder


def test_both_archives_hold_the_same(originals):
    parts = [
        archive.read(originals / "cifar10" / name)
        for name in (archive.PYTHON_ARCHIVE, archive.BINARY_ARCHIVE)
    ]
    for split, count in (("train", NUM_TRAIN), ("test", NUM_TEST)):
        for from_pickles, from_records in zip(parts[0][split], parts[1][split], strict=True):
            np.testing.assert_array_equal(from_pickles, from_records)
        pixels, labels = parts[0][split]
        assert pixels.shape == (count, 32, 32, 3)
        assert pixels.dtype == np.uint8
        assert labels.shape == (count,)
        assert labels.dtype == np.int32
        assert set(labels) == set(range(10))


def test_pixels_are_stored_colour_by_colour_and_row_by_row():
    rows = np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8)
    content = np.concatenate([np.array([[3], [9]], np.uint8), rows], axis=1).tobytes()
    images = archive._decode_records(content)
    assert images.labels.tolist() == [3, 9]
    for image, row, column, colour in [(0, 0, 0, 0), (1, 5, 7, 2), (0, 31, 1, 1)]:
        expected = rows[image, colour * 1024 + row * 32 + column]
        assert images.pixels[image, row, column, colour] == expected


def test_the_last_tenth_of_the_training_images_is_the_validation_split(originals, tmp_path):
    cifar10().prepare(tmp_path, originals / "cifar10")
    parts = archive.read(originals / "cifar10" / archive.PYTHON_ARCHIVE)
    expected = {
        "train": parts["train"].labels[:93],
        "validation": parts["train"].labels[93:],
        "test": parts["test"].labels,
    }
    for split, labels in expected.items():
        source = cifar10().open(tmp_path, split)
        batch = source.gather(np.arange(len(source)))
        np.testing.assert_array_equal(batch["targets"], labels)
        assert batch["inputs"].shape == (len(labels), 32, 32, 3)
        assert batch["inputs"].dtype == np.float32
    full = archive.Images(np.zeros((50_000, 1)), np.zeros(50_000))
    sizes = {
        s: len(i.labels) for s, i in dataset.split_images({"train": full, "test": full}).items()
    }
    assert sizes["train"] == 45_000
    assert sizes["validation"] == 5_000


class Command:
    """What a malicious file would hold: unpickled, it makes a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def rewrite(originals, folder, name, change):
    """A copy of an archive in ``folder`` in which the content of each file is changed."""
    names = (*archive.TRAIN_BATCHES, archive.TEST_BATCH)
    suffix = ".bin" if name == archive.BINARY_ARCHIVE else ""
    contents = archive._read_members(
        originals / "cifar10" / name, [f"{member}{suffix}" for member in names]
    )
    files = {member: changed for member, c in contents.items() if (changed := change(member, c))}
    sample.write_archive(folder / name, files)


def test_a_malicious_pickle_is_refused_and_not_run(originals, tmp_path):
    victim = tmp_path / "made_by_the_pickle"
    attack = pickle.dumps({b"data": Command(victim), b"labels": []}, protocol=2)
    rewrite(originals, tmp_path, archive.PYTHON_ARCHIVE, lambda member, content: attack)
    with pytest.raises(
        UserError, match=r"python.tar.gz holds a damaged data_batch_1 .*not allowed"
    ):
        cifar10().prepare(tmp_path / "data", tmp_path)
    assert not victim.exists()
    pickle.loads(attack)
    assert victim.exists()  # so it would have worked


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps([1, 2]),
        pickle.dumps({b"data": [[1, 2]], b"labels": [1]}),
        pickle.dumps({b"labels": [1]}),
        b"\x80\x02cos\nsystem\n(U\x04truetR.",
    ],
)
def test_a_damaged_pickle_is_named(originals, tmp_path, content):
    def change(member, original):
        return content or b"\0" if member == "data_batch_4" else original

    rewrite(originals, tmp_path, archive.PYTHON_ARCHIVE, change)
    with pytest.raises(UserError, match=r"python.tar.gz holds a damaged data_batch_4"):
        archive.read(tmp_path / archive.PYTHON_ARCHIVE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, c: c[:-1] if m == "test_batch.bin" else c, r"test_batch.bin .*multiple of 3073"),
        (lambda m, c: b"\x0a" + c[1:], r"data_batch_1.bin \(labels must be 0 to 9\)"),
        (lambda m, c: None if m == "data_batch_3.bin" else c, "has no data_batch_3.bin"),
    ],
)
def test_a_damaged_binary_archive_is_named(originals, tmp_path, change, message):
    rewrite(originals, tmp_path, archive.BINARY_ARCHIVE, change)
    with pytest.raises(UserError, match=f"binary.tar.gz (holds a damaged )?{message}"):
        archive.read(tmp_path / archive.BINARY_ARCHIVE)


@pytest.mark.parametrize("name", [archive.PYTHON_ARCHIVE, archive.BINARY_ARCHIVE])
def test_a_truncated_or_changed_archive_is_named(originals, tmp_path, name):
    content = (originals / "cifar10" / name).read_bytes()
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 0xFF])
    for damaged in (content[:middle], content[:middle] + flipped + content[middle + 1 :], b"x"):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(UserError, match=f"{name} "):
            archive.read(tmp_path / name)


def test_without_an_archive_the_open_one_is_downloaded(originals, tmp_path, monkeypatch):
    fetched = []

    def fetch(original, path):
        fetched.append(original)
        path.parent.mkdir(parents=True)
        path.write_bytes((originals / "cifar10" / path.name).read_bytes())

    monkeypatch.setattr(dataset, "download", fetch)
    with pytest.raises(UserError, match=r"There is no cifar-10-python.tar.gz or cifar-10-binary"):
        cifar10().prepare(tmp_path, tmp_path / "nowhere")  # a source was given
    assert fetched == []
    for _ in range(2):
        cifar10().prepare(tmp_path)
    assert cifar10().is_prepared(tmp_path)
    (original,) = fetched
    assert isinstance(original, Original)
    assert original.url == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert original.digest == "c32a1d4ab5d03f1284b67883e8d87530"


@pytest.fixture(scope="module")
def source():
    generator = np.random.default_rng(0)
    return ImageSource(
        ArraySource(
            {
                "inputs": generator.integers(0, 256, (50, 32, 32, 3), np.uint8),
                "targets": generator.integers(0, 10, 50, np.int32),
            }
        )
    )


def augmented_slowly(pixels, draws):
    """One image, as a textbook would do it."""
    top, left = int(draws[0] * 9), int(draws[1] * 9)
    padded = np.pad(pixels, ((4, 4), (4, 4), (0, 0)))
    cropped = padded[top : top + 32, left : left + 32]
    if draws[2] < 0.5:
        cropped = cropped[:, ::-1]
    return (cropped / 255 - np.array(dataset.MEAN)) / np.array(dataset.STD)


def test_augmentation_is_that_of_one_image_at_a_time(source):
    indices = np.arange(50).repeat(8)
    random = ExampleRandom(7, np.tile(np.arange(8), 50), indices)
    batch = source.gather_augmented(indices, random)
    assert batch["inputs"].dtype == np.float32
    assert batch["inputs"].flags.c_contiguous
    pixels = source._stored.arrays["inputs"]
    draws = random.uniform(3)
    for image, index, drawn in zip(batch["inputs"], indices, draws, strict=True):
        np.testing.assert_allclose(image, augmented_slowly(pixels[index], drawn), atol=1e-5)
    np.testing.assert_array_equal(batch["targets"], source.gather(indices)["targets"])
    offsets = (draws[:, :2] * 9).astype(int)
    assert {*offsets[:, 0]} == {*offsets[:, 1]} == set(range(9))  # all were tried


def test_evaluation_only_normalises(source):
    indices = np.array([3, 1, 49])
    pixels = source._stored.arrays["inputs"][indices]
    expected = (pixels / 255 - np.array(dataset.MEAN)) / np.array(dataset.STD)
    np.testing.assert_allclose(source.gather(indices)["inputs"], expected, atol=1e-5)


def test_augmentation_does_not_depend_on_the_batch_size(source):
    def first_epochs(batch_size, position=0):
        batches = TrainingBatches(source, batch_size=batch_size, seed=3, position=position)
        gathered = [next(batches)["inputs"] for _ in range((200 - position) // batch_size)]
        return np.concatenate(gathered)

    expected = first_epochs(200)
    for batch_size in (1, 8, 40):
        np.testing.assert_array_equal(first_epochs(batch_size), expected)
    np.testing.assert_array_equal(first_epochs(10, position=130), expected[130:])
    assert not np.array_equal(np.unique(expected[:50], axis=0), np.unique(expected[50:100], axis=0))


def test_the_mini_set_is_the_same_each_time_and_balanced(tmp_path):
    mini = find_workload("cifar_mini").dataset
    mini.prepare(tmp_path)
    labels = []
    for split, count in mini.num_examples.items():
        batch = mini.open(tmp_path, split).gather(np.arange(count))
        assert np.isfinite(batch["inputs"]).all()
        labels.append(batch["targets"])
    counts = np.bincount(np.concatenate(labels))
    assert counts.tolist() == [550] * 10
    first = sample.draw_shapes(100, seed=0)
    for drawn in (sample.draw_shapes(100, seed=0), sample.draw_shapes(100, seed=1)):
        assert np.array_equal(drawn.pixels, first.pixels) == np.array_equal(
            drawn.labels, first.labels
        )
    assert not np.array_equal(sample.draw_shapes(100, seed=1).pixels, first.pixels)
    assert (tmp_path / mini.name / "train").is_dir()
    assert len(list(tmp_path.iterdir())) == 1


def test_pickles_are_those_of_python_2(originals):
    """The opcodes of Python 2's strings and NumPy 1's names: what the original files have."""
    contents = archive._read_members(
        originals / "cifar10" / archive.PYTHON_ARCHIVE, ["data_batch_1"]
    )
    content = contents["data_batch_1"]
    assert content.startswith(b"\x80\x02")
    assert b"cnumpy.core.multiarray\n_reconstruct" in content
    assert b"_codecs" not in content
    assert b"U\x04data" in content
    with pytest.raises(UnicodeDecodeError):  # pixels are not ASCII
        pickle.Unpickler(io.BytesIO(content)).load()
