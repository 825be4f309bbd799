import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from array_record.python import array_record_module

from finishline.data import splits
from finishline.data.splits import Split, SplitWriter, is_sound, verify_split, write_split
from finishline.errors import UserError

IDENTITY = {"original": "file.tar", "bytes": 7}


def content(number):
    """Arrays and records of the shard ``number``: 2 + number examples."""
    count = 2 + number
    arrays = {"targets": np.arange(count, dtype=np.int32) + 10 * number}
    return arrays, [b"record %d of %d" % (i, number) for i in range(count)]


def write(writer, number):
    key = f"{number:03d}"
    writer.note(key, writer.write(key, *content(number)))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "set" / "train"


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_records(path):
    reader = array_record_module.ArrayRecordReader(str(path))
    records = reader.read_all()
    reader.close()
    return records


def test_shards_are_read_in_the_order_of_their_keys(folder):
    writer = SplitWriter(folder, IDENTITY)
    for number in (2, 0, 1):
        write(writer, number)
    assert not folder.exists()
    writer.finish()
    split = Split(folder)
    assert split.lengths == [2, 3, 4]
    assert len(split) == 9 == verify_split(folder)
    for number, (arrays, path) in enumerate(zip(split.arrays(), split.record_files, strict=True)):
        expected, records = content(number)
        assert np.array_equal(arrays["targets"], expected["targets"])
        assert read_records(path) == records
    assert sorted(p.name for p in folder.parent.iterdir()) == ["train"]


def test_parts_of_examples_may_be_of_any_number(folder):
    ends, tokens = np.array([2, 2, 5]), np.arange(5, dtype=np.int16)
    write_split(folder, {"ends": ends}, {"tokens": tokens})
    assert len(Split(folder)) == 3 == verify_split(folder)
    (arrays,) = Split(folder).arrays()
    assert np.array_equal(arrays["ends"], ends)
    assert np.array_equal(arrays["tokens"], tokens)
    assert arrays["tokens"].dtype == np.int16
    with pytest.raises(ValueError, match="one length"):
        write_split(folder, {"ends": ends, "tokens": tokens})


def test_an_interrupted_writer_goes_on(folder):
    whole = SplitWriter(folder.with_name("whole"), IDENTITY)
    for number in range(4):
        write(whole, number)
    whole.finish()
    first = SplitWriter(folder, IDENTITY)
    write(first, 0)
    write(first, 2)
    first.write("003", *content(3))  # not noted: as if killed in between
    for number, has in enumerate([True, False, True, False]):
        assert SplitWriter(folder, IDENTITY).has(f"{number:03d}") == has
    second = SplitWriter(folder, IDENTITY)
    write(second, 1)
    write(second, 3)
    second.finish()
    expected = files_of(folder.with_name("whole"))
    actual = files_of(folder)
    # ArrayRecord writes when it was made, so the files may differ; what is in them may not.
    assert actual.keys() == expected.keys()
    assert verify_split(folder) == verify_split(folder.with_name("whole"))
    for ours, theirs in zip(
        Split(folder).record_files, Split(folder.with_name("whole")).record_files, strict=True
    ):
        assert read_records(ours) == read_records(theirs)


def test_another_identity_starts_anew(folder):
    write(SplitWriter(folder, IDENTITY), 0)
    assert not SplitWriter(folder, {**IDENTITY, "bytes": 8}).has("000")
    assert not SplitWriter(folder, IDENTITY).has("000")


def test_half_a_line_in_the_journal_costs_one_shard_only(folder):
    writer = SplitWriter(folder, IDENTITY)
    for number in range(3):
        write(writer, number)
    journal = folder.with_name(".train.partial") / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    second = SplitWriter(folder, IDENTITY)
    assert [second.has(f"{n:03d}") for n in range(3)] == [True, True, False]
    write(second, 2)
    third = SplitWriter(folder, IDENTITY)  # what was noted after the half line is not lost
    assert [third.has(f"{n:03d}") for n in range(3)] == [True, True, True]
    third.finish()
    assert verify_split(folder) == 9


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_finished_shard_whose_files_are_gone_is_made_again(folder, damage):
    write(SplitWriter(folder, IDENTITY), 0)
    path = folder.with_name(".train.partial") / "000.targets.npy"
    path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:-1])
    assert not SplitWriter(folder, IDENTITY).has("000")


def test_a_kill_before_the_last_rename_loses_nothing(folder, monkeypatch):
    writer = SplitWriter(folder, IDENTITY)
    write(writer, 0)
    with monkeypatch.context() as patch:
        patch.setattr(splits, "_move_into_place", lambda new, folder: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            writer.finish()
    assert not folder.exists()
    second = SplitWriter(folder, IDENTITY)
    assert second.has("000")
    second.finish()
    assert verify_split(folder) == 2


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from finishline.data.splits import SplitWriter
writer = SplitWriter(Path(sys.argv[1]), {"original": "file.tar", "bytes": 7})
def records(number):
    for i in range(2 + number):
        if number == 2 and i == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        yield b"record %d of %d" % (i, number)
for number in range(4):
    key = f"{number:03d}"
    arrays = {"targets": np.arange(2 + number, dtype=np.int32) + 10 * number}
    writer.note(key, writer.write(key, arrays, records(number)))
"""


def test_a_kill_within_a_shard_costs_that_shard(folder):
    process = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=os.getcwd())
    assert process.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="only an unfinished preparation"):
        Split(folder)
    writer = SplitWriter(folder, IDENTITY)
    assert [writer.has(f"{n:03d}") for n in range(4)] == [True, True, False, False]
    write(writer, 2)
    write(writer, 3)
    writer.finish()
    assert verify_split(folder) == 14
    assert read_records(Split(folder).record_files[2]) == content(2)[1]


def test_a_finished_split_replaces_an_older_one(folder):
    write_split(folder, {"targets": np.zeros(3)})
    writer = SplitWriter(folder, IDENTITY)
    write(writer, 0)
    assert len(Split(folder)) == 3
    writer.finish()
    assert len(Split(folder)) == 2
    assert sorted(p.name for p in folder.parent.iterdir()) == ["train"]


@pytest.mark.parametrize(
    ("arrays", "records"),
    [({"a": np.zeros(2), "b": np.zeros(3)}, None), ({"a": np.zeros(2)}, [b"one"]), ({}, None)],
)
def test_lengths_must_agree(folder, arrays, records):
    with pytest.raises(ValueError, match="must have one length"):
        SplitWriter(folder, IDENTITY).write("000", arrays, records)


@pytest.fixture
def written(folder):
    writer = SplitWriter(folder, IDENTITY)
    write(writer, 0)
    write(writer, 1)
    writer.finish()
    return folder


DAMAGED = ["000.targets.npy", "001.records.array_record", "manifest.json"]


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("damage", ["missing", "short", "flipped"])
def test_damage_is_found_and_named(written, name, damage):
    path = written / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "short":
        path.write_bytes(content[:-3])
    elif damage == "flipped":
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    with pytest.raises(UserError, match=str(written if name == "manifest.json" else path)):
        Split(written).arrays()
    assert not is_sound(written)
    with pytest.raises(UserError):
        verify_split(written)


def test_large_files_are_mapped_and_checked_only_on_request(written, monkeypatch):
    monkeypatch.setattr(splits, "SMALL_FILE_BYTES", 0)
    path = written / "000.targets.npy"
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)
    (first, _) = Split(written).arrays()
    assert isinstance(first["targets"], np.memmap)
    with pytest.raises(UserError, match="has SHA-256"):
        verify_split(written)


def test_a_manifest_of_another_format_is_named(written):
    path = written / "manifest.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "format": 1}))
    with pytest.raises(UserError, match="has format 1 instead of 2"):
        Split(written)
