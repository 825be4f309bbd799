"""From the original archives to the prepared layout: contents, interruptions, damage."""

import gzip
import io
import signal
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from finishline.data import splits
from finishline.errors import UserError
from workloads import prepare as command
from workloads.imagenet import archives, made_up, originals
from workloads.imagenet.dataset import ImageNet, imagenet, imagenet_mini
from workloads.imagenet.devkit import read_devkit
from workloads.imagenet.sample import NUM_CLASSES, write_originals

TRAIN, VALIDATION, TEST = (
    originals.ARCHIVES["train"],
    originals.ARCHIVES["validation"],
    originals.ARCHIVES["test"],
)


def stored(data_dir, split):
    """Label and bytes of each example of a prepared split."""
    source = imagenet().open(data_dir, split)
    records = [source[i] for i in range(len(source))]
    return [(int(record.label), record.image) for record in records]


def test_images_and_labels_come_through(tmp_path):
    made = write_originals(tmp_path, num_train=18, num_test=13)
    imagenet().prepare(tmp_path)
    assert sorted(stored(tmp_path, "train")) == sorted(made["train"])
    assert stored(tmp_path, "validation") == made["validation"]
    assert sorted(stored(tmp_path, "test")) == sorted(made["test"])


def test_labels_follow_the_wordnet_ids(tmp_path):
    """The kit numbers the classes in another order; image-net.org's own does, too."""
    write_originals(tmp_path)
    kit = read_devkit(tmp_path / "imagenet" / originals.DEVKIT)
    assert kit.wnids == sorted(kit.wnids)
    assert len(kit.wnids) == NUM_CLASSES  # the inner node is no class
    with tarfile.open(tmp_path / "imagenet" / originals.DEVKIT) as tar:
        lines = tar.extractfile(f"{made_up._KIT}/ILSVRC2012_validation_ground_truth.txt").read()
    ids = [int(line) for line in lines.split()]
    assert [NUM_CLASSES - i for i in ids] == kit.validation_labels
    assert ids != [label + 1 for label in kit.validation_labels]


def test_folders_of_v2_are_numbers_not_words(tmp_path):
    images = [(label, b"\xff\xd8\xff%d" % label) for label in range(12)]
    made_up.write_archives(tmp_path, 12, train=images, validation=images, test=images)
    names = [m.name.split("/")[1] for m in archives.list_members(tmp_path / TEST)]
    assert names[:4] == ["0", "1", "10", "11"]
    dataset = small_dataset(num_classes=12, num_examples=12)
    dataset.prepare(tmp_path, tmp_path)
    labels = dataset.open(tmp_path, "test")._labels
    np.testing.assert_array_equal(labels, [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9])
    assert dataset.open(tmp_path, "test")[2].image == b"\xff\xd8\xff10"


def test_an_uncompressed_archive_of_v2_will_do(tmp_path):
    made = write_originals(tmp_path)
    path = tmp_path / "imagenet" / TEST
    path.write_bytes(gzip.decompress(path.read_bytes()))
    imagenet().prepare(tmp_path)
    assert sorted(stored(tmp_path, "test")) == sorted(made["test"])


def test_shards_have_about_the_size_that_is_asked_for(tmp_path, monkeypatch):
    made = write_originals(tmp_path, num_test=12)
    monkeypatch.setattr(originals, "SHARD_BYTES", 3 * len(made["validation"][0][1]))
    imagenet().prepare(tmp_path)
    for split in ("validation", "test"):
        lengths = splits.Split(tmp_path / "imagenet" / split).lengths
        assert sum(lengths) == 12
        assert len(lengths) > 2
        assert all(2 <= length <= 5 for length in lengths[:-1])
    assert stored(tmp_path, "validation") == made["validation"]
    assert splits.Split(tmp_path / "imagenet" / "train").lengths == [6] * NUM_CLASSES


def test_processes_make_the_same_files(tmp_path):
    for workers in (1, 2):
        write_originals(tmp_path / str(workers))
        imagenet().prepare(tmp_path / str(workers), num_workers=workers)
    manifests = [
        (tmp_path / str(workers) / "imagenet" / split / splits.MANIFEST).read_bytes()
        for split in ("train", "validation", "test")
        for workers in (1, 2)
    ]
    assert manifests[0::2] == manifests[1::2]


@pytest.fixture
def extracted(tmp_path):
    """Originals of which the training and validation images have been extracted, and what is in."""
    made = write_originals(tmp_path)
    folder = tmp_path / "imagenet"
    with tarfile.open(folder / TRAIN) as outer:
        for member in outer:
            with tarfile.open(fileobj=outer.extractfile(member)) as inner:
                inner.extractall(folder / "train" / member.name[:9], filter="data")
    with tarfile.open(folder / VALIDATION) as tar:
        for member in tar:
            tar.extract(member, folder / "val" / f"n0000000{member.size % 4}", filter="data")
    (folder / TRAIN).unlink()
    (folder / VALIDATION).unlink()
    return folder, made


def test_extracted_images_will_do(tmp_path, extracted):
    folder, made = extracted
    imagenet().prepare(tmp_path / "data", folder)
    assert sorted(stored(tmp_path / "data", "train")) == sorted(made["train"])
    assert sorted(stored(tmp_path / "data", "validation")) == sorted(made["validation"])


def test_validation_images_may_lie_in_one_folder(tmp_path, extracted):
    folder, made = extracted
    for path in list(folder.glob("val/*/*")):
        path.rename(folder / "val" / path.name)
    for path in list(folder.glob("val/*/")):
        path.rmdir()
    imagenet().prepare(tmp_path / "data", folder)
    assert sorted(stored(tmp_path / "data", "validation")) == sorted(made["validation"])


def test_extracted_images_are_counted(tmp_path, extracted):
    folder, _ = extracted
    next(folder.glob("train/n01000000/*")).unlink()
    with pytest.raises(UserError, match="has 5 images in n01000000 instead of the 6"):
        imagenet().prepare(tmp_path / "data", folder)


def test_originals_are_never_replaced_by_prepared_data(tmp_path, extracted):
    folder, _ = extracted
    before = sorted(folder.rglob("*"))
    with pytest.raises(UserError, match="train holds folders of original images"):
        imagenet().prepare(tmp_path)
    assert sorted(folder.rglob("*")) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from workloads.imagenet.archives import ClassShard
from workloads.imagenet.dataset import imagenet

make = ClassShard.__call__

def make_or_die(self):
    if self.label == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return make(self)

ClassShard.__call__ = make_or_die
imagenet().prepare(Path(sys.argv[1]))
"""


def test_after_a_kill_finished_shards_are_kept(tmp_path, monkeypatch):
    made = write_originals(tmp_path)
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "imagenet" / "train").exists()
    with pytest.raises(UserError, match="only an unfinished preparation"):
        imagenet().open(tmp_path, "train")
    first = tmp_path / "imagenet" / ".train.partial" / "0000.records.array_record"
    before = first.stat()

    labels, make = [], archives.ClassShard.__call__
    monkeypatch.setattr(
        archives.ClassShard, "__call__", lambda self: labels.append(self.label) or make(self)
    )
    imagenet().prepare(tmp_path)
    assert labels == [2, 3]
    after = (tmp_path / "imagenet" / "train" / first.name).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert sorted(stored(tmp_path, "train")) == sorted(made["train"])


def truncate(path, keep=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])


def edit_tar(path, edit, mode="w"):
    """Rewrites an archive with ``edit``, a function of its list of (name, content)."""
    with tarfile.open(path) as tar:
        files = [(m.name, tar.extractfile(m).read()) for m in tar if m.isfile()]
    path.write_bytes(made_up._tar(edit(files), mode))


def flip_header(path):
    """Damages the header of the second member, which tarfile alone takes for the end."""
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[1].offset
    content = bytearray(path.read_bytes())
    content[offset + 5] ^= 0x80
    path.write_bytes(content)


def cut_last_image(path):
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset_data + last.size // 2])


def cut_before_last_image(path):
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset])


def flip_in_image(path):
    """Damages an image in a compressed archive; only the checksum can tell."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    with tarfile.open(path) as tar:
        content[tar.getmembers()[0].offset_data + 100] ^= 1
    checksum = path.read_bytes()[-8:]
    path.write_bytes(gzip.compress(bytes(content))[:-8] + checksum)


def without_last(files):
    return files[:-1]


def with_first_twice(files):
    return [files[0], *files]


def with_a_web_page(files):
    return [(files[0][0], b"<html>"), *files[1:]]


DAMAGES = {
    "train truncated": (TRAIN, truncate, "truncated|classes"),
    "train ends within a header": (TRAIN, lambda p: truncate(p, 0.0001), "truncated or damaged"),
    "train is empty": (TRAIN, lambda p: p.write_bytes(b""), "truncated or damaged"),
    "train has a damaged header": (TRAIN, flip_header, "damaged at byte"),
    "train lacks a class": (TRAIN, lambda p: edit_tar(p, without_last), "lacks 1 of 4 classes"),
    "train has a class twice": (TRAIN, lambda p: edit_tar(p, with_first_twice), r"\.tar twice"),
    "train has another class": (
        TRAIN,
        lambda p: edit_tar(p, lambda files: [*files, ("n00000001.tar", files[0][1])]),
        "the class n00000001",
    ),
    "a class lacks an image": (
        TRAIN,
        lambda p: edit_tar(p, lambda files: [(files[0][0], short_tar(files[0][1])), *files[1:]]),
        r"has 5 images in n01000000\.tar instead of the 6",
    ),
    "a class is truncated": (
        TRAIN,
        lambda p: edit_tar(p, lambda files: [(files[0][0], files[0][1][:9000]), *files[1:]]),
        "damaged at byte",
    ),
    "validation truncated": (VALIDATION, cut_last_image, "truncated or damaged"),
    "validation truncated between images": (
        VALIDATION,
        cut_before_last_image,
        "has 7 images, not number 1 to 8",
    ),
    "validation lacks an image": (
        VALIDATION,
        lambda p: edit_tar(p, without_last),
        "has 7 images, not number 1 to 8",
    ),
    "validation has an image twice": (
        VALIDATION,
        lambda p: edit_tar(p, with_first_twice),
        "_00000001.JPEG twice",
    ),
    "validation has something else": (
        VALIDATION,
        lambda p: edit_tar(p, lambda files: [*files, ("readme.txt", b"")]),
        "unexpected member readme.txt",
    ),
    "validation has a web page": (
        VALIDATION,
        lambda p: edit_tar(p, with_a_web_page),
        "_00000001.JPEG in it is not an image",
    ),
    "v2 truncated": (TEST, truncate, "truncated or damaged"),
    "v2 damaged": (TEST, flip_in_image, "CRC"),
    "v2 lacks a class": (
        TEST,
        lambda p: edit_tar(p, lambda files: [f for f in files if "/3/" not in f[0]], "w:gz"),
        "lacks 1 of 4 classes, such as 3",
    ),
    "development kit truncated": (originals.DEVKIT, truncate, "truncated or damaged"),
    "development kit without labels": (
        originals.DEVKIT,
        lambda p: edit_tar(p, without_last, "w:gz"),
        "has no ILSVRC2012_validation_ground_truth.txt",
    ),
    "development kit without classes": (
        originals.DEVKIT,
        lambda p: edit_tar(p, lambda files: [(files[0][0], b"no table"), files[1]], "w:gz"),
        "meta.mat that cannot be read",
    ),
    "development kit with an unknown class": (
        originals.DEVKIT,
        lambda p: edit_tar(p, lambda files: [files[0], (files[1][0], b"1\n99\n")], "w:gz"),
        "has 99 as a class",
    ),
}


def short_tar(content):
    """A tar archive without its last member."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files = [(m.name, tar.extractfile(m).read()) for m in tar]
    return made_up._tar(files[:-1])


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_archives_are_named(tmp_path, damage):
    name, break_file, what = DAMAGES[damage]
    write_originals(tmp_path)
    path = tmp_path / "imagenet" / name
    break_file(path)
    with pytest.raises(UserError, match=what) as caught:
        imagenet().prepare(tmp_path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert message.endswith("replace it by an undamaged copy of the original.")


def test_a_damaged_archive_can_be_replaced(tmp_path):
    made = write_originals(tmp_path)
    path = tmp_path / "imagenet" / VALIDATION
    content = path.read_bytes()
    truncate(path)
    with pytest.raises(UserError):
        imagenet().prepare(tmp_path)
    path.write_bytes(content)
    imagenet().prepare(tmp_path)
    assert stored(tmp_path, "validation") == made["validation"]


@pytest.mark.parametrize("name", [TRAIN, VALIDATION, originals.DEVKIT])
def test_missing_archives_are_named_with_the_way_to_get_them(tmp_path, monkeypatch, name):
    monkeypatch.setattr(originals, "download", lambda *_: pytest.fail("nothing to download yet"))
    write_originals(tmp_path)
    (tmp_path / "imagenet" / name).unlink()
    (tmp_path / "imagenet" / TEST).unlink()
    with pytest.raises(UserError) as caught:
        imagenet().prepare(tmp_path)
    message = str(caught.value)
    assert message.startswith(f"There is no {name} in {tmp_path / 'imagenet'}; ")
    assert "\n" not in message
    for part in ("register at https://image-net.org", "--source", TRAIN, VALIDATION):
        assert part in message


def test_only_v2_is_downloaded(tmp_path, monkeypatch):
    write_originals(tmp_path)
    path = tmp_path / "imagenet" / TEST
    content = path.read_bytes()
    path.unlink()
    fetched = []

    def download(original, to):
        fetched.append(original)
        to.write_bytes(content)

    monkeypatch.setattr(originals, "download", download)
    imagenet().prepare(tmp_path)
    assert fetched == [originals.IMAGENET_V2]
    assert imagenet().is_prepared(tmp_path)


def small_dataset(num_classes, num_examples):
    return ImageNet(
        name="small",
        num_examples=dict.fromkeys(("train", "validation", "test"), num_examples),
        fields={},
        num_classes=num_classes,
        image_size=8,
    )


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_set_with_all_classes_must_have_all_images(tmp_path, split):
    write_originals(tmp_path, num_train=12, num_test=12)
    dataset = small_dataset(NUM_CLASSES, 12)
    dataset.num_examples[split] = 13
    with pytest.raises(UserError, match="have 12 images instead of 13") as caught:
        dataset.prepare(tmp_path, tmp_path / "imagenet")
    assert originals.ARCHIVES[split] in str(caught.value)


def test_verify_finds_a_flipped_bit_in_a_shard(tmp_path, capsys):
    write_originals(tmp_path)
    imagenet().prepare(tmp_path)
    arguments = ["imagenet_resnet", "--data_dir", str(tmp_path), "--verify"]
    assert command.main(arguments) == 0
    path = tmp_path / "imagenet" / "train" / "0002.records.array_record"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    assert command.main(arguments) == 2
    assert f"{path} has SHA-256" in capsys.readouterr().err


def test_the_small_set_is_the_same_each_time(tmp_path):
    manifests = []
    for name in "ab":
        dataset = imagenet_mini()
        dataset.num_examples = {"train": 24, "validation": 12, "test": 12}
        dataset.prepare(tmp_path / name)
        folder = tmp_path / name / "imagenet_mini"
        manifests.append([(folder / s / splits.MANIFEST).read_bytes() for s in originals.ARCHIVES])
    assert manifests[0] == manifests[1]
