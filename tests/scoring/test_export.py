"""Exports are read back, by other code than that which wrote them."""

import csv
import json
import math
import struct
import subprocess
import sys
import types
from pathlib import Path

import pytest

from finishline.records import RunDirectory
from scoring.export import main

REPOSITORY = Path(__file__).parents[2]


def ledger(seconds: float) -> dict[str, float]:
    return {"setup": 1.0, "submission": seconds, "evaluation": 0.5, "record_keeping": 0.25}


def evaluation(step: int, seconds: float, value: float) -> dict:
    return {
        "step": step,
        "metrics": {"validation/accuracy": value},
        "ledger": ledger(seconds),
        "resumes": 0,
        "target_is_met": False,
    }


def record(root: Path, submission: str = "a_jax", trial: int = 1) -> Path:
    """A trial that was resumed once, at step 10."""
    folder = root / submission / "study_0" / "digits_jax" / f"trial_{trial}"
    run = RunDirectory(folder)
    config = {"submission": submission, "hyperparameters": {"lr": 0.1, "mode": "x", "on": True}}
    run.record("trial_started", **config)
    run.record("scalars", rows=[[5, {"loss": 2.0}]])
    run.record("evaluation", **evaluation(10, 4.0, 0.5))
    run.record("evaluation", **evaluation(15, 5.0, 0.6))
    run.record("resumed", step=10, ledger=ledger(4.0), lost={"steps": 5, "seconds": 1.0})
    run.record("trial_started", **config)
    run.record("scalars", rows=[[15, {"loss": 1.0}]])
    run.record("evaluation", **evaluation(20, 8.0, float("nan")))
    run.record("trial_ended", status="budget_spent")
    run.close()
    return folder


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "competition"
    record(path)
    record(path, "b_jax", trial=10)
    return path


def files_in(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def export(root: Path, output_dir: Path, form: str) -> int:
    before = files_in(root)
    code = main([str(root), f"--output_dir={output_dir}", f"--format={form}"])
    assert files_in(root) == before, "exporting touched the records"
    return code


# ------------------------------------------------------------------------------ csv


def test_tidy_table(root, tmp_path, capsys):
    assert export(root, tmp_path / "out", "csv") == 0
    assert "2 of 2 trials exported" in capsys.readouterr().out
    with (tmp_path / "out" / "measurements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    first = {
        "submission": "a_jax",
        "workload": "digits",
        "framework": "jax",
        "study": "0",
        "trial": "1",
    }
    assert rows[0] == {**first, "step": "5", "seconds": "", "name": "loss", "value": "2.0"}
    own = [
        (row["step"], row["seconds"], row["name"], row["value"])
        for row in rows
        if row["trial"] == "1" and row["name"] in ("validation/accuracy", "clock/evaluation")
    ]
    assert own == [
        ("10", "4.0", "validation/accuracy", "0.5"),
        ("10", "4.0", "clock/evaluation", "0.5"),
        ("20", "8.0", "validation/accuracy", "nan"),
        ("20", "8.0", "clock/evaluation", "0.5"),
    ]
    assert {row["submission"] for row in rows} == {"a_jax", "b_jax"}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["measurements.csv"]


def test_logs_of_algoperf(tmp_path):
    folder = tmp_path / "logs" / "s" / "study_0" / "wmt_jax" / "trial_1"
    folder.mkdir(parents=True)
    evals = "accumulated_eval_time,accumulated_submission_time,global_step,score,validation/bleu\n"
    (folder / "eval_measurements.csv").write_text(evals + "1,2.5,7,2.5,\n2,5,14,5,30\n")
    both = "global_step,loss,validation/bleu,accumulated_submission_time\n"
    (folder / "measurements.csv").write_text(both + "3,0.5,,\n7,,30,2.5\n")
    assert export(tmp_path / "logs", tmp_path / "out", "csv") == 0
    with (tmp_path / "out" / "measurements.csv").open(newline="") as file:
        rows = [tuple(row.values())[5:] for row in csv.DictReader(file)]
    assert rows == [
        ("3", "", "loss", "0.5"),
        ("7", "2.5", "clock/evaluation", "1.0"),
        ("7", "2.5", "clock/submission", "2.5"),
        ("14", "5.0", "clock/evaluation", "2.0"),
        ("14", "5.0", "clock/submission", "5.0"),
        ("14", "5.0", "validation/bleu", "30.0"),
    ]


# ------------------------------------------------------------------------------ TensorBoard


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, bit by bit, masked as TensorFlow masks it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_event_file(path: Path) -> list:
    from tensorboardX.proto.event_pb2 import Event

    content, events = path.read_bytes(), []
    while content:
        header = content[:8]
        (length,) = struct.unpack("<Q", header)
        assert struct.unpack("<I", content[8:12]) == (crc32c(header),)
        body, end = content[12 : 12 + length], content[12 + length : 16 + length]
        assert struct.unpack("<I", end) == (crc32c(body),)
        events.append(Event.FromString(body))
        content = content[16 + length :]
    return events


def test_tensorboard_files(root, tmp_path):
    pytest.importorskip("tensorboardX")
    for _ in range(2):  # the second time replaces the files
        assert export(root, tmp_path / "out", "tensorboard") == 0
    place = "a_jax/study_0/digits_jax/trial_1"
    (path,) = (tmp_path / "out" / place).iterdir()
    assert ".tfevents." in path.name
    events = read_event_file(path)
    assert events[0].file_version == "brain.Event:2"
    start = events[0].wall_time
    scalars = {}
    for event in events:
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                point = (event.step, event.wall_time - start, value.simple_value)
                scalars.setdefault(value.tag, []).append(point)
    accuracy = scalars["validation/accuracy"]
    assert accuracy[0] == (10, pytest.approx(4.0), 0.5)
    assert accuracy[1][:2] == (20, pytest.approx(8.0))
    assert math.isnan(accuracy[1][2])
    # Halfway between the start and step 10, and between steps 10 and 20.
    assert scalars["loss"] == [(5, pytest.approx(2.0), 2.0), (15, pytest.approx(6.0), 1.0)]
    tags = [value.tag for event in events for value in event.summary.value]
    assert "_hparams_/session_start_info" in tags


# ------------------------------------------------------------------------------ W&B


class FakeWandb(types.ModuleType):
    """Notes what would have been written."""

    def __init__(self):
        super().__init__("wandb")
        self.runs = []

    def Settings(self, **settings):
        return settings

    def init(self, **arguments):
        self.runs.append({**arguments, "log": []})
        return self

    def log(self, values, step):
        self.runs[-1]["log"].append((step, values))

    def finish(self):
        self.runs[-1]["is_finished"] = True


def test_wandb_runs(root, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", fake := FakeWandb())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert export(root, tmp_path / "out", "wandb") == 0
    first, second = fake.runs
    assert first["mode"] == "offline"
    assert first["project"] == "competition"
    assert first["name"] == "a_jax digits study 0 trial 1"
    assert first["config"]["hyperparameters"]["lr"] == 0.1
    assert first["id"] != second["id"]
    assert [step for step, _ in first["log"]] == [5, 10, 15, 20]
    assert first["log"][1][1]["validation/accuracy"] == 0.5
    assert first["is_finished"]


def test_wandb_itself(root, tmp_path):
    pytest.importorskip("wandb")
    assert export(root, tmp_path / "out", "wandb") == 0
    assert len(list((tmp_path / "out" / "wandb").glob("offline-run-*/*.wandb"))) == 2
    assert export(root, tmp_path / "out", "wandb") == 2


# ------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("form", ["tensorboard", "wandb"])
def test_a_package_that_is_not_installed(root, tmp_path, form, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert export(root, tmp_path / "out", form) == 2
    assert f"pip install -c constraints.txt -e '.[{form}]'" in capsys.readouterr().err


def test_damaged_trials_are_told_and_the_others_exported(root, tmp_path, capsys):
    log = root / "a_jax" / "study_0" / "digits_jax" / "trial_1" / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2] + lines[3:]))
    strange = record(root, "c_jax") / "events.jsonl"
    strange.write_text(json.dumps({"event": "evaluation", "previous": "0" * 64}) + "\n")
    (record(root, "d_jax") / "events.jsonl").write_text("")
    assert export(root, tmp_path / "out", "csv") == 1
    captured = capsys.readouterr()
    assert "1 of 4 trials exported" in captured.out
    assert captured.err.count("\n") == 3
    assert "check_logs" in captured.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["/no/such", "--output_dir=out", "--format=csv"], "no directory /no/such"),
        ([".", "--output_dir=here/out", "--format=csv"], "choose one outside"),
        ([".", "--output_dir=/proc/no/such", "--format=csv"], "choose another --output_dir"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(root, flags, words, monkeypatch, capsys):
    monkeypatch.chdir(root)
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_one_table_is_of_one_competition(tmp_path, capsys):
    record(tmp_path / "all" / "first")
    record(tmp_path / "all" / "second")
    assert export(tmp_path / "all", tmp_path / "out", "csv") == 1
    assert "another competition" in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from scoring.export import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'jax', 'flax', 'pandas', 'scipy', 'rich', 'tensorboardX', 'wandb'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "tensorboard" in done.stdout
