"""fastMRI's data: from the original archives to examples."""

import gzip
import io
import lzma
import shutil
import tarfile

import h5py
import numpy as np
import pytest

from finishline.data.pipeline import training_batches
from finishline.data.splits import is_sound, verify_split
from finishline.errors import UserError
from finishline.workload import SPLITS, find_workload
from workloads.fastmri import kspace, phantoms, sample, volumes
from workloads.fastmri.dataset import FastMRI, fields

SIZE = 16
TRAIN = [2, 3, 1]
VAL = [2, 1, 2, 1, 3]  # the first three are validation


def dataset():
    counts = {"train": 6, "validation": 5, "test": 4}
    return FastMRI(name="fastmri", num_examples=counts, fields=fields(SIZE), size=SIZE)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Archives as fastMRI distributes them."""
    folder = tmp_path_factory.mktemp("originals")
    for part, num_slices in (("train", TRAIN), ("val", VAL)):
        phantoms.write_archive(folder / f"knee_singlecoil_{part}.tar.xz", part, num_slices, SIZE)
    return folder


@pytest.fixture
def unpacked(archives, tmp_path):
    folder = tmp_path / "unpacked"
    for path in archives.iterdir():
        with tarfile.open(path) as tar:
            tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def prepared(archives, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    dataset().prepare(folder, archives)
    return folder


def everything(data_dir, split):
    source = dataset().open(data_dir, split)
    return source.gather(np.arange(len(source)))


def assert_same_data(one, other):
    for split in SPLITS:
        a, b = everything(one, split), everything(other, split)
        for name in fields(SIZE):
            np.testing.assert_array_equal(a[name], b[name])


def plain_example(measured, target, kept):
    """The formula, in float64."""
    mask = np.zeros(measured.shape[1])
    mask[kept] = 1
    shifted = np.fft.ifftshift(measured.astype(np.complex128) * mask)
    full = np.fft.fftshift(np.fft.ifft2(shifted)) * np.sqrt(measured.size)
    top, left = ((length - SIZE) // 2 for length in full.shape)
    picture = np.abs(full[top : top + SIZE, left : left + SIZE])
    mean, std = picture.mean(), picture.std()
    inputs, targets = (np.clip((a - mean) / std, -6, 6) for a in (picture, target))
    return {"inputs": inputs, "targets": targets, "mean": mean, "std": std}


def assert_follows_the_formula(example, volume, number, kept):
    expected = plain_example(volume.kspace[number], volume.targets[number], kept)
    for name, value in expected.items():
        assert example[name].dtype == np.float32
        np.testing.assert_allclose(example[name], value, rtol=1e-4, atol=1e-4)
    assert example["volume_max"] == np.float32(volume.maximum)


def test_splits_are_those_of_the_benchmark_in_the_order_of_names(prepared):
    numbers = {"train": TRAIN, "validation": VAL[:3], "test": VAL[3:]}
    first = {"train": 1_000_000, "validation": 2_000_000, "test": 2_000_003}
    for split in SPLITS:
        source = dataset().open(prepared, split)
        assert len(source) == sum(numbers[split]) == verify_split(prepared / "fastmri" / split)
        index = 0
        for number, count in enumerate(numbers[split], first[split]):
            content = phantoms.scan_file(number, count, SIZE)
            volume = volumes.read_volume(io.BytesIO(content), "scan", SIZE)
            kept = kspace.evaluation_columns(volume.kspace.shape[2])
            for position in range(count):
                example = source.preprocess(source[index])
                assert_follows_the_formula(example, volume, position, kept)
                index += 1
    assert sorted(path.name for path in (prepared / "fastmri").iterdir()) == sorted(SPLITS)


def test_the_published_files_split_100_to_99(tmp_path):
    folder = tmp_path / "singlecoil_val"
    folder.mkdir()
    content = phantoms.scan_file(2_000_000, 1, SIZE)
    for number in range(199):
        (folder / f"file{number:07d}.h5").write_bytes(content)
    phantoms.write_archive(tmp_path / "knee_singlecoil_train.tar", "train", [1], SIZE)
    dataset().prepare(tmp_path, tmp_path)
    assert [len(dataset().open(tmp_path, split)) for split in SPLITS] == [1, 100, 99]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_folders_give_the_same_data_as_archives(prepared, unpacked, tmp_path, num_workers):
    dataset().prepare(tmp_path, unpacked, num_workers=num_workers)
    assert_same_data(tmp_path, prepared)


def test_the_order_and_the_compression_of_an_archive_do_not_matter(unpacked, prepared, tmp_path):
    for part in ("train", "val"):
        with tarfile.open(tmp_path / f"knee_singlecoil_{part}.tar.gz", "w:gz") as tar:
            for path in sorted((unpacked / f"singlecoil_{part}").iterdir(), reverse=True):
                tar.add(path, f"./knee/{path.name}")
            tar.addfile(tarfile.TarInfo("knee/README"))
    dataset().prepare(tmp_path, tmp_path)
    assert_same_data(tmp_path, prepared)


def test_an_interrupted_preparation_makes_no_shard_twice(archives, prepared, tmp_path, monkeypatch):
    made = []

    def interrupted_at(count):
        def read_volume(file, name, size):
            if len(made) == count:
                raise KeyboardInterrupt
            made.append(name)
            return volumes.read_volume(file, name, size)

        monkeypatch.setattr("workloads.fastmri.originals.read_volume", read_volume)
        dataset().prepare(tmp_path, archives)

    for count in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            interrupted_at(count)
    interrupted_at(1000)
    assert len(made) == len(set(made)) == len(TRAIN) + len(VAL)
    assert_same_data(tmp_path, prepared)


def rewritten(change):
    """A scan after ``change`` has had its way with the open HDF5 file."""
    file = io.BytesIO(phantoms.scan_file(1_000_001, 2, SIZE))
    with h5py.File(file, "r+") as content:
        change(content)
    return file.getvalue()


def replace(field, array):
    def change(content):
        del content[field]
        content[field] = array

    return change


def delete(field):
    return lambda content: content.__delitem__(field)


BLANK = np.zeros((2, 2 * SIZE, SIZE + 2), np.complex64)
DAMAGES = {
    "no HDF5": (lambda: b"<html>" * 99, "is no readable HDF5 file"),
    "cut off": (lambda: phantoms.scan_file(1_000_001, 2, SIZE)[:-999], "is no readable HDF5"),
    "no k-space": (lambda: rewritten(delete("kspace")), "has no 'kspace'"),
    "no image": (lambda: rewritten(delete("reconstruction_esc")), "has no 'reconstruction_esc'"),
    "real": (lambda: rewritten(replace("kspace", BLANK.real)), "has 'kspace' of dtype float32"),
    "flat": (lambda: rewritten(replace("kspace", BLANK[0])), r"of shape \[32, 18\]"),
    "narrow": (lambda: rewritten(replace("kspace", BLANK[..., 4:])), "less than the image"),
    "fewer": (lambda: rewritten(replace("kspace", BLANK[:1])), "1 slices in 'kspace' and 2 images"),
    "NaN": (lambda: rewritten(replace("kspace", BLANK * np.nan)), "not finite"),
    "small": (
        lambda: rewritten(replace("reconstruction_esc", BLANK.real[:, :8, :8])),
        r"images of shape \[8, 8\] instead of \[16, 16\]",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_scan_is_named(unpacked, tmp_path, damage):
    make, message = DAMAGES[damage]
    path = unpacked / "singlecoil_train" / "file1000001.h5"
    path.write_bytes(make())
    with pytest.raises(UserError, match=message) as caught:
        dataset().prepare(tmp_path, unpacked)
    assert str(path) in str(caught.value)
    assert "replace it" in str(caught.value)
    assert not (tmp_path / "fastmri" / "train").exists()


def test_a_damaged_scan_in_an_archive_is_named(archives, tmp_path):
    shutil.copy(archives / "knee_singlecoil_val.tar.xz", tmp_path)
    path = tmp_path / "knee_singlecoil_train.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("singlecoil_train/file1000000.h5")
        member.size = 99
        tar.addfile(member, io.BytesIO(b"x" * 99))
    with pytest.raises(UserError, match="no readable HDF5") as caught:
        dataset().prepare(tmp_path, tmp_path)
    assert f"singlecoil_train/file1000000.h5 in {path}" in str(caught.value)


@pytest.mark.parametrize("kept", [0.5, 0.999])
@pytest.mark.parametrize("suffix", ["xz", "gz", "tar"])
def test_an_incomplete_archive_is_named(archives, tmp_path, suffix, kept):
    plain = lzma.decompress((archives / "knee_singlecoil_train.tar.xz").read_bytes())
    shutil.copy(archives / "knee_singlecoil_val.tar.xz", tmp_path)
    name = "knee_singlecoil_train.tar" + ("" if suffix == "tar" else f".{suffix}")
    content = {"xz": lzma.compress, "gz": gzip.compress, "tar": bytes}[suffix](plain)
    end = kept * len(content) if suffix != "tar" else 0.5 * len(plain)
    (tmp_path / name).write_bytes(content[: int(end)])
    with pytest.raises(UserError, match="is damaged or incomplete") as caught:
        dataset().prepare(tmp_path, tmp_path)
    assert str(tmp_path / name) in str(caught.value)


def test_who_has_no_data_is_told_how_to_obtain_them(archives, tmp_path):
    with pytest.raises(UserError, match=r"https://fastmri\.med\.nyu\.edu") as caught:
        dataset().prepare(tmp_path)
    assert "There is neither knee_singlecoil_train.tar.xz nor" in str(caught.value)
    assert f"python -m workloads.prepare fastmri --data_dir {tmp_path}" in str(caught.value)
    shutil.copy(archives / "knee_singlecoil_train.tar.xz", tmp_path)
    with pytest.raises(UserError, match="knee_singlecoil_val"):
        dataset().prepare(tmp_path, tmp_path)
    assert not is_sound(tmp_path / "fastmri" / "train")  # it looks before it works


def test_a_scan_without_a_largest_value_has_0():
    content = rewritten(lambda file: file.attrs.__delitem__("max"))
    assert volumes.read_volume(io.BytesIO(content), "scan", SIZE).maximum == 0.0


@pytest.mark.parametrize("width", [368, 372])
def test_masks_keep_the_middle_and_a_quarter_on_average(width):
    kept = [kspace.random_columns(width, np.random.default_rng(seed)) for seed in range(400)]
    num_middle = int(0.08 * width)
    first = (width - num_middle + 1) // 2
    counts = np.bincount(np.concatenate(kept), minlength=width)
    assert (counts[first : first + num_middle] == 400).all()
    assert first <= width // 2 < first + num_middle  # frequency 0
    others = np.delete(counts, np.s_[first : first + num_middle]) / 400
    probability = (width / 4 - num_middle) / (width - num_middle)
    assert abs(others.mean() - probability) < 5 * np.sqrt(probability / len(others) / 400)
    assert np.abs(others - probability).max() < 0.12
    assert abs(np.mean([len(columns) for columns in kept]) / width - 0.25) < 0.01


def test_evaluation_has_one_mask_for_each_width():
    a, b = kspace.evaluation_columns(368), kspace.evaluation_columns(372)
    assert a is kspace.evaluation_columns(368)
    assert len(a) != len(b) or (a != b).any()


def masks_of_epochs(data_dir, quirks, seed=3):
    """The inputs of two epochs of training, each in the order of the examples' brightness."""
    source = dataset().open(data_dir, "train", quirks)
    batches = training_batches(source, batch_size=len(source), seed=seed)
    epochs = [next(batches) for _ in range(2)]
    batches.close()
    # What is kept of k-space does not change the images of all of it.
    first, second = [e["targets"] * e["std"][:, None, None] for e in epochs]
    order = [np.argsort(np.ptp(a.reshape(len(a), -1), axis=1)) for a in (first, second)]
    return [epoch["inputs"][o] for epoch, o in zip(epochs, order, strict=True)]


def test_training_masks_are_new_in_each_epoch_unless_the_quirk_is_on(prepared):
    first, second = masks_of_epochs(prepared, frozenset())
    assert (np.abs(first - second).max(axis=(1, 2)) > 0.1).sum() >= len(first) - 1
    again, _ = masks_of_epochs(prepared, frozenset())
    np.testing.assert_array_equal(first, again)
    first, second = masks_of_epochs(prepared, frozenset({"frozen_masks"}))
    np.testing.assert_array_equal(first, second)
    other, _ = masks_of_epochs(prepared, frozenset({"frozen_masks"}), seed=4)
    assert np.abs(first - other).max() > 0.1


def test_training_examples_follow_the_formula(prepared):
    source = dataset().open(prepared, "train")
    content = phantoms.scan_file(1_000_000, TRAIN[0], SIZE)
    volume = volumes.read_volume(io.BytesIO(content), "scan", SIZE)
    kept = kspace.random_columns(volume.kspace.shape[2], np.random.default_rng(8))
    example = source.augment(source[1], np.random.default_rng(8))
    assert_follows_the_formula(example, volume, 1, kept)


def test_a_blank_slice_stays_finite():
    blank = np.zeros((SIZE, SIZE), np.float32)
    for array in kspace.normalized(blank.copy(), blank):
        assert np.isfinite(array).all()


def test_samples_have_the_size_of_originals(tmp_path):
    sample.write_originals(tmp_path, num_train=3, num_test=1)
    full_size = find_workload("fastmri").dataset
    full_size.prepare(tmp_path)
    assert [len(full_size.open(tmp_path, split)) for split in SPLITS] == [3, 1, 1]
    source = full_size.open(tmp_path, "test")
    assert source.gather(np.arange(1))["inputs"].shape == (1, 320, 320)
    assert source[0].columns.shape[0] >= 368


def test_phantoms_are_the_same_each_time_and_need_a_reconstruction(tmp_path):
    mini = find_workload("fastmri_mini").dataset
    mini.prepare(tmp_path)
    counts = {split: len(mini.open(tmp_path, split)) for split in SPLITS}
    assert counts == mini.num_examples
    batch = mini.open(tmp_path, "validation").gather(np.arange(256))
    assert np.abs(batch["inputs"] - batch["targets"]).mean() > 0.25
    assert len(np.unique(batch["volume_max"])) == 16
    np.testing.assert_allclose(batch["inputs"].mean(dtype=np.float64), 0, atol=1e-4)
    assert phantoms.scan_file(7, 2, 16) == phantoms.scan_file(7, 2, 16)
