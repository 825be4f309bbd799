"""Damaged logs: whatever lies in a directory of logs, the sound ones are scored.

All goes through the command line's ``main`` in this process, where an error that it does not expect
fails the test.
"""

import contextlib
import json
import os
import random
import resource
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring.score_submissions import main

HEADER = (
    "accumulated_eval_time,accumulated_logging_time,accumulated_submission_time,global_step,"
    "preemption_count,score,total_duration,validation/accuracy,validation/loss\n"
)
ROWS = [
    "0.5,0.1,10.0,1,0,10.0,10.6,0.1,2.3\n",
    "1.0,0.2,20.0,11,0,20.0,21.2,0.5,1.2\n",
    "1.5,0.3,30.0,21,0,30.0,31.8,0.95,0.3\n",
]
LOG = (HEADER + "".join(ROWS)).encode()
META = json.dumps(
    {
        "status": "target_reached",
        "message": "reached",
        "target": {"metric": "accuracy", "minimize": False, "validation": 0.9, "test": 0.9},
        "ledger": {"setup": 1.0, "submission": 30.0, "evaluation": 1.5, "record_keeping": 0.3},
        "max_allowed_runtime_sec": 60.0,
        "eval_period_time_sec": 10.0,
        "step_hint": 100,
        "versions": {"finishline": "0.1"},
        "machine": {"accelerators": []},
    }
).encode()
HPARAMS = b'{"learning_rate": 0.1}'
TARGETS = json.dumps(
    {
        "base_workloads": ["digits"],
        "held_out_workloads": ["digits_tanh"],
        "workloads": {
            name: {"target_metric_name": "accuracy", "validation_target_value": 0.9}
            for name in ("digits", "digits_tanh")
        },
    }
).encode()

OTHER = "other/study_0/digits_jax/trial_1"

steady = settings(deadline=None, derandomize=True, database=None, max_examples=60)


class Board:
    """A directory of logs of two sound submissions and one to be damaged, ``other``."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.root = folder / "logs"
        # Two sound ones, so that the majority of the logs has their target.
        for submission in ("sound", "sound_too", "other"):
            self.write(self.trial(submission))
        self.damaged = self.trial("other")
        self.log = self.damaged / "eval_measurements.csv"

    def trial(self, submission: str, number: int = 1) -> Path:
        return self.root / submission / "study_0" / "digits_jax" / f"trial_{number}"

    def write(self, trial: Path, log: bytes = LOG, meta: bytes = META) -> None:
        trial.mkdir(parents=True)
        (trial / "eval_measurements.csv").write_bytes(log)
        (trial / "meta.json").write_bytes(meta)
        (trial / "hparams.json").write_bytes(HPARAMS)

    def run(self, *flags: str, root: Path | None = None) -> int:
        arguments = [f"--submission_directory={root or self.root}", *flags]
        return main(["score", f"--output_dir={self.folder / 'out'}", *arguments])

    def score(self, *flags: str) -> dict:
        """Scores the logs; the document, in which ``sound`` has lost nothing."""
        code = self.run("--nohtml", *flags)
        assert code == 0
        text = (self.folder / "out" / "scores.json").read_bytes().decode()
        document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        (sound,) = (
            row
            for row in document["results"]
            if (row["submission"], row["workload"]) == ("sound", "digits")
        )
        assert (sound["time"], sound["trials_reached"]) == (30.0, 1)
        return document

    def score_strictly(self) -> dict:
        """Scores the logs against a file of targets, all rules enforced."""
        return self.score("--strict", f"--workload_targets={self.write_targets()}")

    def write_targets(self, content: bytes = TARGETS) -> Path:
        path = self.folder / "targets.json"
        path.write_bytes(content)
        return path


def other_time(document: dict) -> float | None:
    (time,) = (row["time"] for row in document["results"] if row["submission"] == "other")
    return time


@pytest.fixture(autouse=True)
def _limits():
    """Nothing may make the scoring wait or read for ever: a pipe without a writer, a device."""

    def give_up(*_):
        pytest.fail("the scoring waits or reads for ever")

    before = signal.signal(signal.SIGALRM, give_up)
    memory = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, memory[1]))
    signal.alarm(60)
    yield
    signal.alarm(0)
    resource.setrlimit(resource.RLIMIT_AS, memory)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path)


@contextlib.contextmanager
def new_board():
    """For hypothesis, whose examples must not share a folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield Board(Path(folder))


def with_cell(column: str, value: str, row: int = 2) -> bytes:
    """The log with another value in one of its cells."""
    index = HEADER.strip().split(",").index(column)
    rows = [line.strip().split(",") for line in ROWS]
    rows[row][index] = value
    return (HEADER + "\n".join(map(",".join, rows)) + "\n").encode()


# Logs without a time: the whole file is worth nothing, and that is said.
WORTHLESS = {
    "empty": b"",
    "a blank line": b"\n",
    "half a header": LOG[:40],
    "wrong delimiter": LOG.replace(b",", b";"),
    "tabs": LOG.replace(b",", b"\t"),
    "extra cells": LOG.replace(b"\n", b",1,2,3\n").replace(b"loss,1,2,3", b"loss", 1),
    "missing cells": LOG.replace(b",2.3\n", b"\n"),
    "truncated in a row": LOG[:-20],
    "no column of the metric": LOG.replace(b"accuracy", b"precision"),
    "a column twice": LOG.replace(b"validation/loss", b"validation/accuracy"),
    "a line of 10 MB": HEADER.encode() + b"x" * 10_000_000 + b"\n",
    "a header of 10 MB": b"y" * 10_000_000 + b"," + LOG,
    "a cell of 10 MB": with_cell("accumulated_submission_time", "9" * 10_000_000),
    "a hundred thousand cells": LOG.replace(b"10.0,1,", b"1," * 100_000),
    "NUL bytes": LOG.replace(b"20.0", b"\0\0\0\0"),
    "only NUL bytes": bytes(4096),
    "a hole, as a power cut leaves it": LOG[:240] + bytes(4096),
    "no UTF-8": LOG.replace(b"0.5", b"\xff\xfe"),
    "UTF-16": LOG.decode().encode("utf-16"),
    "random bytes": random.Random(0).randbytes(5000),
    "an open quote": LOG.replace(b"20.0,11", b'"20.0,11'),
    "words": with_cell("accumulated_submission_time", "soon"),
    "a time that is no number": with_cell("accumulated_submission_time", "nan"),
    "an infinite time": with_cell("accumulated_submission_time", "inf"),
    "a number beyond float": with_cell("accumulated_submission_time", "1e999"),
    "a negative time": with_cell("accumulated_submission_time", "-10.0", row=0),
    "time runs backwards": with_cell("accumulated_submission_time", "5.0"),
    "an underscore in a number": with_cell("accumulated_submission_time", "1_000"),
    "HTML": b"<!DOCTYPE html><html><body>404, not found</body></html>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}

# Logs that are unusual and still tell the time.
UNUSUAL = {
    "extra columns": LOG.replace(b"\n", b",1\n").replace(b"loss,1", b"loss,x", 1),
    "a column without a name": LOG.replace(b"\n", b",\n"),
    "Windows": LOG.replace(b"\n", b"\r\n"),
    "blank lines": LOG.replace(b"\n", b"\n\n"),
    "a mark of the byte order": b"\xef\xbb\xbf" + LOG,
    "no line feed at the end": LOG.rstrip(),
    "quotes": LOG.replace(b"30.0", b'"30.0"').replace(b"score", b'"score"'),
    "other order of columns": b"\n".join(
        b",".join(reversed(line.split(b","))) for line in LOG.splitlines()
    ),
    "no step": with_cell("global_step", ""),
    "a step that is no number": with_cell("global_step", "many"),
    "an infinite step": with_cell("global_step", "1e999"),
    "a large step": with_cell("global_step", "9" * 400),
    "steps run backwards": with_cell("global_step", "-3"),
    "an infinite evaluation time": with_cell("accumulated_eval_time", "inf"),
    "a metric that is no number at first": with_cell("validation/accuracy", "nan", row=0),
    "an empty metric at first": with_cell("validation/accuracy", "", row=1),
}


@pytest.mark.parametrize("name", WORTHLESS)
def test_a_worthless_log_has_no_time_and_is_named(board, name):
    board.log.write_bytes(WORTHLESS[name])
    document = board.score()
    assert other_time(document) is None
    assert f"{OTHER}/eval_measurements.csv" in {one["path"] for one in document["problems"]}


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_log_still_tells_the_time(board, name):
    board.log.write_bytes(UNUSUAL[name])
    document = board.score()
    assert other_time(document) == 30.0


def test_a_header_alone_is_no_evaluation(board):
    board.log.write_bytes(HEADER.encode())
    document = board.score()
    assert other_time(document) is None


@pytest.mark.parametrize("value", ["nan", "NaN", "", "-nan"])
def test_nan_reaches_no_target(board, value):
    board.log.write_bytes(with_cell("validation/accuracy", value))
    document = board.score()
    assert other_time(document) is None


METAS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"3",
    b'"text"',
    b"\xff\xfe{}",
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b"{}" * 2,
    bytes(100),
    b'{"status": ["list"], "message": {"a": 1}}',
    b'{"status": 3, "target": 3}',
    b'{"status": "unheard_of"}',
    b'{"status": "target_reached", "message": "\\ud800 \\u0000 \\u001b[31m"}',
    b'{"target": {"metric": "accuracy", "minimize": false, "validation": 1e999}}',
    b'{"target": {"metric": ["a"], "minimize": false, "validation": "0.9"}}',
    b'{"max_allowed_runtime_sec": "long", "eval_period_time_sec": [], "step_hint": {}}',
    b'{"max_allowed_runtime_sec": NaN, "eval_period_time_sec": Infinity, "step_hint": -1}',
    b'{"ledger": 3, "versions": [], "machine": "fast", "seeds": null}',
    b'{"ledger": {"submission": "much", "setup": NaN}, "resumes": "often"}',
    b'{"step_hint": 1' + b"0" * 5000 + b"}",
    b'{"ledger": {"setup": 1' + b"0" * 400 + b"}}",
    b'{"target": {"metric": "accuracy", "minimize": false, "validation": 1' + b"0" * 400 + b"}}",
    b'{"machine": {"gpus": "none"}, "num_devices": true, "max_global_steps": []}',
    b'{"hyperparameters": 1}',
    b'{"tuning_ruleset": {}, "benchmark_version": [1], "machine": {"gpus": [[]]}}',
]


@pytest.mark.parametrize("name", ["meta.json", "hparams.json"])
@pytest.mark.parametrize("content", METAS, ids=lambda content: repr(content[:40]))
def test_damaged_files_beside_the_log(board, name, content):
    (board.damaged / name).write_bytes(content)
    board.score_strictly()
    board.score()


FILES = ["eval_measurements.csv", "meta.json", "hparams.json", "meta_data_0.json", "events.jsonl"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["loop", "dangling", "folder", "pipe", "huge", "device", "locked"])
def test_what_is_no_file(board, name, kind):
    path = board.damaged / name
    path.unlink(missing_ok=True)
    if name == "meta_data_0.json":  # AlgoPerf's
        (board.damaged / "meta.json").unlink()
    if kind == "loop":
        path.symlink_to(path.name)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(1 << 40)  # takes no space on the disk
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.write_bytes(LOG)
        lock(path)
    assert len(board.score()["submissions"]) == 3
    board.score_strictly()


def lock(path: Path) -> None:
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read every file")


@pytest.mark.parametrize("depth", range(4))
def test_symlink_loops_of_folders(board, depth):
    folder = [board.root, *reversed(board.damaged.parents[:3])][depth]
    name = ["loop", "study_1", "mnist_jax", "trial_2"][depth]
    (folder / name).symlink_to(".")
    (folder / "study_7").symlink_to("study_7")
    (folder / "trial_8").symlink_to(board.root)
    board.score()


@pytest.mark.parametrize("depth", range(5))
def test_locked_folders(board, depth):
    folder = [board.damaged, *board.damaged.parents][depth]
    try:
        lock(folder)
        assert board.run("--nohtml") == (2 if folder == board.root else 0)
    finally:
        folder.chmod(0o755)


NAMES = [
    b"\xff\xfe",
    "späth ünïcode 🚀".encode(),
    b"[bold red]x[link=y]",
    b"<img src=x onerror=alert(1)>",
    b"line\nfeed",
    b"carriage\rreturn \x1b[31m",
    b"a,b;c\td",
    b"quote\"s'",
    b"=cmd()",
    b"a" * 200,
    b"-dash",
    b"(a+b)*[c]",
    b"|pipe|`tick`\\",
    b"x..",
    b"%s {0} {{ jinja }} {% raw %}",
]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_strange_names(board, name, capsys):
    for folder in (
        os.path.join(os.fsencode(board.root), name),
        os.path.join(os.fsencode(board.root), b"other", name),
        os.path.join(os.fsencode(board.root), b"other", b"study_0", name + b"_jax"),
        os.path.join(os.fsencode(board.root), b"other", b"study_0", b"digits_jax", name),
    ):
        os.makedirs(folder)
    board.write(board.trial(os.fsdecode(name)))
    document = board.score()
    assert len(document["submissions"]) == 4
    board.score("--as_published", "--workload_targets", str(board.write_targets()))
    assert board.run() == 0  # with the page
    assert "\x1b[31m" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [
        *METAS,
        TARGETS[:100],
        TARGETS.replace(b"digits", b"", 1),
        TARGETS.replace(b"0.9", b'"high"', 1),
        TARGETS.replace(b"0.9", b"NaN", 1),
        TARGETS.replace(b"accuracy", b"beauty"),
        TARGETS.replace(b'["digits"]', b"3"),
        TARGETS.replace(b'["digits"]', b"[[]]"),
        TARGETS.replace(b'["digits"]', b'"digits"'),
        TARGETS.replace(b'["digits_tanh"]', b"[3]"),
        TARGETS.replace(b'["digits_tanh"]', b'["mnist"]'),
    ],
    ids=lambda content: repr(content[:40]),
)
def test_damaged_targets_are_bad_input(board, content, capsys):
    assert board.run("--nohtml", f"--workload_targets={board.write_targets(content)}") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "targets.json" in error


@pytest.mark.parametrize("flags", [[], ["--strict"], ["--as_published"], ["--bootstrap=20"]])
def test_nothing_but_damaged_logs(board, flags, capsys):
    for log in board.root.glob("*/*/*/*/eval_measurements.csv"):
        log.write_bytes(b"")
    assert board.run(f"--workload_targets={board.write_targets()}", *flags) == 0
    assert "sound" in capsys.readouterr().out


def test_a_damaged_cache_is_no_cache(board):
    expected = board.score()
    kept = [path for path in (board.folder / "out").iterdir() if path.name.startswith(".")]
    assert kept
    rng = random.Random(0)
    for path in kept:
        sound = path.read_bytes()
        for size in (0, 1, len(sound) // 2, len(sound) - 1, 5000):
            path.write_bytes(rng.randbytes(size))
            assert board.score() == expected
        for _ in range(30):
            damaged = bytearray(sound)
            damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
            path.write_bytes(damaged)
            assert board.score() == expected
        path.unlink()
        path.mkdir()
        assert board.score() == expected


@steady
@given(st.integers(0, len(LOG)), st.binary(max_size=30), st.integers(0, 30))
def test_random_changes(at, inserted, removed):
    with new_board() as board:
        board.log.write_bytes(LOG[:at] + inserted + LOG[at + removed :])
        board.score()


@steady
@given(st.integers(0, len(META)), st.binary(max_size=10), st.integers(0, 30))
def test_random_changes_beside_the_log(at, inserted, removed):
    with new_board() as board:
        (board.damaged / "meta.json").write_bytes(META[:at] + inserted + META[at + removed :])
        board.score()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@steady
@given(st.dictionaries(st.sampled_from(sorted(json.loads(META))), json_values))
def test_any_values_beside_the_log(values):
    with new_board() as board:
        meta = json.dumps({**json.loads(META), **values})
        (board.damaged / "meta.json").write_text(meta)
        (board.damaged / "hparams.json").write_text(json.dumps(values))
        board.score_strictly()


cells = st.sampled_from(
    ["", "0", "1", "-1", "nan", "inf", "-inf", "1e999", "1e-999", "0x10", "1_0", " 1 ", "٣", '"']
)


@steady
@given(st.lists(st.lists(cells, min_size=9, max_size=9), max_size=5))
def test_any_cells(rows):
    with new_board() as board:
        text = HEADER + "".join(f"{','.join(row)}\n" for row in rows)
        board.log.write_text(text, encoding="utf-8")
        board.score("--bootstrap=5")
