import gzip

import numpy as np
import pytest

from finishline.errors import UserError
from workloads.mnist import workload
from workloads.mnist.sample import write_originals

IMAGES = "train-images-idx3-ubyte"
LABELS = "t10k-labels-idx1-ubyte"


@pytest.mark.parametrize("compress", [False, True])
def test_idx_files_become_three_splits(tmp_path, compress):
    files = write_originals(tmp_path, compress=compress)
    splits = workload.make(tmp_path / "mnist")
    assert [len(splits[s]["targets"]) for s in ("train", "validation", "test")] == [100, 20, 20]
    pixels = files[IMAGES].reshape(120, 784) / 255
    inputs = np.concatenate([splits["train"]["inputs"], splits["validation"]["inputs"]])
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, (pixels - 0.1307) / 0.3081, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(splits["test"]["targets"], files[LABELS])


def test_the_full_size_is_split_50000_10000(tmp_path, monkeypatch):
    write_originals(tmp_path)
    arrays = {"targets": np.arange(60_000, dtype=np.int32)}
    monkeypatch.setattr(workload, "_read_pair", lambda *arguments: arrays)
    splits = workload.make(tmp_path / "mnist")
    assert len(splits["train"]["targets"]) == 50_000
    np.testing.assert_array_equal(splits["validation"]["targets"], np.arange(50_000, 60_000))


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {
    "truncated": (False, _truncate, "instead of"),
    "extended": (False, lambda path: path.write_bytes(path.read_bytes() + b"x"), "instead of"),
    "cut in the header": (False, lambda path: path.write_bytes(path.read_bytes()[:6]), "header"),
    "empty": (False, lambda path: path.write_bytes(b""), "starts with"),
    "a web page": (False, lambda path: path.write_bytes(b"<html>" * 999), "starts with"),
    "truncated gzip": (True, _truncate, "gzip"),
    "no gzip": (True, lambda path: path.write_bytes(b"<html>" * 999), "gzip"),
    "damaged gzip": (
        True,
        lambda path: path.write_bytes(path.read_bytes()[:20] + b"\0" * 99),
        "gzip",
    ),
}


@pytest.mark.parametrize("name", [IMAGES, LABELS])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_named(tmp_path, damage, name):
    compress, break_file, what = DAMAGES[damage]
    write_originals(tmp_path, compress=compress)
    path = tmp_path / "mnist" / (f"{name}.gz" if compress else name)
    break_file(path)
    with pytest.raises(UserError, match=what) as caught:
        workload.make(tmp_path / "mnist")
    assert str(path) in str(caught.value)
    assert "replace it" in str(caught.value)


def test_a_missing_file_is_named_with_the_remedy(tmp_path):
    write_originals(tmp_path)
    (tmp_path / "mnist" / LABELS).unlink()
    with pytest.raises(UserError) as caught:
        workload.make(tmp_path / "mnist")
    assert f"There is no {LABELS} in {tmp_path / 'mnist'}" in str(caught.value)
    assert f"python -m workloads.prepare mnist --data_dir {tmp_path}" in str(caught.value)


def test_images_and_labels_must_match(tmp_path):
    write_originals(tmp_path, compress=True)
    images = tmp_path / "mnist" / f"{IMAGES}.gz"
    content = bytearray(gzip.decompress(images.read_bytes()))
    content[7] -= 1  # one image fewer
    images.write_bytes(gzip.compress(bytes(content[:-784])))
    with pytest.raises(UserError, match="119 images and train-labels-idx1-ubyte has 120 labels"):
        workload.make(tmp_path / "mnist")
