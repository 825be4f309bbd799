import json

import numpy as np
import pytest

from finishline.data import sources, splits
from finishline.data.prepared import ArrayDataset, Field, open_arrays
from finishline.errors import UserError


@pytest.fixture
def arrays():
    return {
        "inputs": np.arange(60, dtype=np.float32).reshape(10, 3, 2),
        "targets": np.arange(10, dtype=np.int32),
    }


@pytest.fixture
def folder(tmp_path, arrays):
    folder = tmp_path / "data" / "toy" / "train"
    splits.write_split(folder, arrays)
    return folder


def assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert actual[name].dtype == array.dtype
        np.testing.assert_array_equal(actual[name], array)


def test_gather_takes_examples_in_the_order_asked_for(arrays):
    batch = sources.ArraySource(arrays).gather(np.array([7, 0, 7]))
    assert_equal(batch, {name: array[[7, 0, 7]] for name, array in arrays.items()})
    assert all(array.flags.c_contiguous and array.flags.writeable for array in batch.values())


def test_gather_returns_new_memory(arrays):
    source = sources.ArraySource(arrays)
    source.gather(np.arange(10))["inputs"][:] = -1
    assert arrays["inputs"][0, 0, 1] == 1


@pytest.mark.parametrize("lengths", [(3, 4), ()])
def test_sources_need_arrays_of_one_length(lengths):
    with pytest.raises(ValueError, match="one length"):
        sources.ArraySource({str(length): np.zeros(length) for length in lengths})


@pytest.mark.parametrize("small", [0, 2**20])
def test_a_split_is_read_as_written(folder, arrays, small, monkeypatch):
    monkeypatch.setattr(splits, "SMALL_FILE_BYTES", small)  # 0: everything is memory-mapped
    source = open_arrays(folder)
    assert len(source) == 10
    assert_equal(source.gather(np.arange(10)), arrays)
    assert type(source.gather(np.arange(2))["inputs"]) is np.ndarray
    assert splits.verify_split(folder) == 10


def test_writing_replaces_and_leaves_nothing_else(folder, arrays):
    shorter = {name: array[:4] for name, array in arrays.items()}
    splits.write_split(folder, shorter)
    assert len(open_arrays(folder)) == 4
    assert [path.name for path in folder.parent.iterdir()] == ["train"]


def test_a_failed_write_leaves_nothing(tmp_path, arrays):
    with pytest.raises(ValueError, match="allow_pickle"):
        splits.write_split(tmp_path / "train", arrays | {"bad": np.array([object()] * 10)})
    assert list(tmp_path.iterdir()) == []


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "file missing": ("inputs.npy", lambda path: path.unlink()),
    "file truncated": ("inputs.npy", _truncate),
    "bit flipped": ("targets.npy", _flip),
    "manifest missing": ("manifest.json", lambda path: path.unlink()),
    "manifest truncated": ("manifest.json", lambda path: path.write_bytes(b'{"format": 2,')),
    "manifest of another kind": ("manifest.json", lambda path: path.write_bytes(b"[]")),
    "manifest of another format": (
        "manifest.json",
        lambda path: path.write_text(json.dumps({"format": 99})),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("read", [open_arrays, splits.verify_split])
def test_damage_is_found_and_named(folder, damage, read):
    name, break_file = DAMAGES[damage]
    break_file(folder / name)
    with pytest.raises(UserError) as caught:
        read(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert f"python -m workloads.prepare toy --data_dir {folder.parent.parent}" in message
    if name != "manifest.json":
        assert name in message


def test_damage_in_large_files_is_found_by_verify(folder, monkeypatch):
    monkeypatch.setattr(splits, "SMALL_FILE_BYTES", 0)
    _flip(folder / "inputs.npy")
    open_arrays(folder)
    with pytest.raises(UserError, match="SHA-256"):
        splits.verify_split(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no data in .*toy/test; run `python -m"):
        open_arrays(tmp_path / "toy" / "test")


@pytest.mark.parametrize("damage", DAMAGES)
def test_prepare_makes_what_is_missing_or_broken_and_nothing_else(tmp_path, arrays, damage):
    calls = []

    def make(data_dir):
        calls.append(data_dir)
        return dict.fromkeys(("train", "validation", "test"), arrays)

    dataset = ArrayDataset(
        name="toy",
        num_examples=dict.fromkeys(("train", "validation", "test"), 10),
        fields={"inputs": Field((3, 2), "float32"), "targets": Field((), "int32")},
        make=make,
    )
    dataset.prepare(tmp_path)
    dataset.prepare(tmp_path)
    assert calls == [tmp_path / "toy"]
    untouched = dataset.folder(tmp_path, "test") / "inputs.npy"
    inode = untouched.stat().st_ino
    name, break_file = DAMAGES[damage]
    break_file(dataset.folder(tmp_path, "train") / name)
    dataset.prepare(tmp_path)
    assert_equal(dataset.open(tmp_path, "train").gather(np.arange(10)), arrays)
    assert untouched.stat().st_ino == inode
    assert len(calls) == 2
