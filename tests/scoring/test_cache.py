import numpy as np
import pytest

from scoring.cache import Cache
from scoring.evaluations import LogError

LOGS = [
    b"accumulated_submission_time,validation/wer\n1,0.5\n2,0.25\n",
    b"accumulated_submission_time,validation/wer\n3,0.5\n",
    b"accumulated_submission_time,validation/wer\n",
]


def read(path, logs=LOGS, metric="wer"):
    """The tables of ``logs`` and how many were parsed."""
    with Cache(path) as cache:
        tables = [cache.table(one, metric)[0].tolist() for one in logs]
    return [str(table) for table in tables], cache.num_parsed


def test_nothing_is_parsed_twice(tmp_path):
    path = tmp_path / "new" / "cache"
    first = read(path)
    assert first[1] == 3
    assert read(path) == (first[0], 0)
    assert read(path, LOGS[:1]) == (first[0][:1], 0)
    assert read(path)[1] == 2  # only those of the last scoring are kept
    path.unlink()
    assert read(path) == first
    assert [one.name for one in path.parent.iterdir()] == ["cache"]


def test_another_metric_is_another_table(tmp_path):
    read(tmp_path / "cache")
    with pytest.raises(LogError):
        read(tmp_path / "cache", metric="loss")
    assert read(tmp_path / "cache")[1] == 0  # a scoring that failed leaves it as it was


def test_a_damaged_cache_is_never_wrong(tmp_path):
    path = tmp_path / "cache"
    expected, _ = read(path)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        for damaged in (
            content[:position],
            content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :],
        ):
            path.write_bytes(damaged)
            assert read(path)[0] == expected
    path.write_bytes(np.random.default_rng(0).bytes(10_000))
    assert read(path)[0] == expected


def test_without_a_place_there_is_no_cache(tmp_path):
    (tmp_path / "file").write_text("")
    assert read(tmp_path / "file" / "cache")[1] == 3
    assert read(None)[1] == 3
    (tmp_path / "folder").mkdir()
    assert read(tmp_path / "folder")[1] == 3
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]
