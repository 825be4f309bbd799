import dataclasses
import os
import shutil
import signal

import numpy as np
import pytest

from finishline.data import preparation, progress
from finishline.data.preparation import ShardContent, ShardTask, format_bytes, prepare_split
from finishline.data.splits import Split, verify_split
from finishline.errors import UserError

NUM_TASKS = 5


@dataclasses.dataclass(frozen=True)
class Make:
    """Makes a shard, and leaves a file that says so; pickled for other processes."""

    number: int
    made: str
    failure: str = ""

    def __call__(self):
        if self.failure == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.failure:
            raise UserError(f"{self.failure} is damaged; get it again.")
        with open(f"{self.made}/{self.number}", "a") as file:
            file.write("x")
        records = (b"record %d" % i for i in range(self.number + 1))
        return ShardContent({"targets": np.full(self.number + 1, self.number)}, records)


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


def tasks(made, failure_at=None, failure="day_3.gz"):
    return [
        ShardTask(f"{i:03d}", 10, Make(i, str(made), failure if i == failure_at else ""))
        for i in range(NUM_TASKS)
    ]


def times_made(made):
    return {path.name: len(path.read_text()) for path in made.iterdir()}


def prepare(folder, tasks, **changes):
    prepare_split(folder, tasks, **{"identity": {"v": 1}, "disk_bytes": 100, **changes})


@pytest.mark.parametrize("num_workers", [1, 2])
def test_shards_are_made_once_and_kept(tmp_path, made, num_workers):
    folder = tmp_path / "set" / "train"
    prepare(folder, tasks(made), num_workers=num_workers)
    prepare(folder, tasks(made), num_workers=num_workers)
    assert times_made(made) == {str(i): 1 for i in range(NUM_TASKS)}
    assert Split(folder).lengths == [1, 2, 3, 4, 5]
    assert verify_split(folder) == 15
    assert [a["targets"][0] for a in Split(folder).arrays()] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_failure_keeps_what_is_finished(tmp_path, made, num_workers):
    folder = tmp_path / "set" / "train"
    with pytest.raises(UserError, match=r"day_3\.gz is damaged"):
        prepare(folder, tasks(made, failure_at=3), num_workers=num_workers)
    done = times_made(made)
    assert {"0", "1", "2"} <= done.keys()
    prepare(folder, tasks(made), num_workers=num_workers)
    again = times_made(made)
    assert all(again[name] == 1 for name in ("0", "1", "2"))
    assert verify_split(folder) == 15


def test_a_killed_process_is_told_in_a_sentence(tmp_path, made):
    folder = tmp_path / "set" / "train"
    with pytest.raises(UserError, match="killed, perhaps for want of memory"):
        prepare(folder, tasks(made, failure_at=4, failure="killed"), num_workers=2)
    prepare(folder, tasks(made))
    assert verify_split(folder) == 15


def test_another_identity_makes_everything_anew(tmp_path, made):
    folder = tmp_path / "set" / "train"
    with pytest.raises(UserError):
        prepare(folder, tasks(made, failure_at=3))
    prepare(folder, tasks(made), identity={"v": 2})
    assert times_made(made)["0"] == 2


def test_the_disk_is_checked_before_and_for_what_is_left(tmp_path, made, monkeypatch):
    folder = tmp_path / "set" / "train"
    usage = shutil.disk_usage(tmp_path)._replace(free=60)
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"need about 100 B in .* and 60 B are free"):
        prepare(folder, tasks(made))
    assert times_made(made) == {}
    with pytest.raises(UserError, match="is damaged"):
        prepare(folder, tasks(made, failure_at=3), disk_bytes=50)
    prepare(folder, tasks(made), disk_bytes=100)  # two of five shards are left: 40 bytes
    assert verify_split(folder) == 15


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (155e9, "155 GB"), (2.5e12, "2.5 TB")],
)
def test_bytes_are_written_as_people_read_them(count, text):
    assert format_bytes(count) == text


def test_progress_is_told_in_lines_where_there_is_no_terminal(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.progress("set/train", 1000, done=100) as advance:
        for _ in range(3):
            now[0] += 6
            advance(150)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "set/train: 40%, about 0 min left"
