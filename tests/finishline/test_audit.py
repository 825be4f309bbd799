"""Audits of real trials: honest ones are sound, and each change of one is found for its reason."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import finishline.auditing.trial
from finishline.auditing.scores import remeasure
from finishline.auditing.trial import Audit, Options, Verdict, audit_runs
from finishline.records import EVALS_FILE, TARGET_SNAPSHOT_FILE
from scoring.checks.findings import Severity
from scoring.runs import Run

SUBMISSION = "submission"


def run_audit(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "finishline.audit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def known_scores() -> dict:
    return {}


@pytest.fixture
def audit(monkeypatch, known_scores):
    """Audits one trial. A snapshot that has been measured before is not measured again."""

    def measure(record, proof, framework, data_dir):
        key = (proof.path.read_bytes(), framework)
        if key not in known_scores:
            known_scores[key] = remeasure(record, proof, framework, data_dir)
        return known_scores[key]

    monkeypatch.setattr(finishline.auditing.trial, "remeasure", measure)

    def one(run, **options) -> Audit:
        (result,) = audit_runs([run], Options(**options))
        return result

    return one


def of_kind(events: list[dict], kind: str) -> list[dict]:
    return [event for event in events if event["event"] == kind]


def decisive(events: list[dict]) -> dict:
    return next(event for event in of_kind(events, "evaluation") if event["target_is_met"])


def errors(audit: Audit) -> set[str]:
    return {one.kind for one in audit.findings if one.severity is Severity.ERROR}


def warnings(audit: Audit) -> set[str]:
    return {one.kind for one in audit.findings if one.severity is Severity.WARNING}


def text(audit: Audit) -> str:
    return "\n".join(map(str, audit.findings))


# ------------------------------------------------------------------------------------ honest


def test_honest_trials_are_sound(finished):
    process = run_audit(finished, "--json", "--cross_framework")
    report = json.loads(process.stdout)
    assert process.returncode == 0, process.stdout
    assert report["verdict"] == "sound"
    assert [trial["findings"] for trial in report["trials"]] == [[], []]
    for trial in report["trials"]:
        own, other = trial["measured"]
        assert own["largest_difference"] <= 1e-6
        assert other["largest_difference"] <= 1e-4
        assert {own["framework"], other["framework"]} == {"jax", "pytorch"}


def test_report_for_people(finished):
    (folder,) = finished.glob("*pytorch/*/*/trial_1")
    process = run_audit(folder)
    assert process.returncode == 0
    first, *facts, last = process.stdout.splitlines()
    assert first == f"{folder}: sound"
    assert [line.split()[0] for line in facts] == ["result", "snapshot", "measured"]
    assert last == "1 trial audited: 1 sound, 0 sound with warnings, 0 not sound."


def test_trial_that_has_not_ended(copied, audit):
    run = copied("pytorch")
    log = run.path / "events.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-1]))
    found = audit(run)
    assert "unfinished" in warnings(found)
    assert found.measured == ()


def test_snapshot_is_kept_without_checkpoints(copied):
    run = copied("pytorch")
    assert (run.path / TARGET_SNAPSHOT_FILE).is_file()
    assert not (run.path / "checkpoints").exists()


def test_checkpoint_will_do_for_a_snapshot(copied, audit):
    run = copied("jax")
    (run.path / TARGET_SNAPSHOT_FILE).unlink()
    assert audit(run).verdict is Verdict.SOUND


def test_rerun_has_the_same_scores(copied, tmp_path):
    run = copied("pytorch")
    process = run_audit(run.path, "--rerun", "--json", f"--rerun_dir={tmp_path / 'again'}")
    assert process.returncode == 0, process.stderr
    (trial,) = json.loads(process.stdout)["trials"]
    rerun = trial["rerun"]
    assert rerun["has_met_target"]
    assert trial["snapshot"]["step"] in rerun["common_steps"]
    assert rerun["largest_difference"] <= 1e-6
    # How long it takes is a matter of the machine's other work.
    assert all(finding["kind"] == "rerun" for finding in trial["findings"])


# ------------------------------------------------------------------------------------ scores


def test_better_score_in_the_log(copied, audit, forge):
    run = copied("jax")

    def change(events):
        decisive(events)["metrics"]["validation/accuracy"] = 0.9999

    forge(run, change)
    found = audit(run)
    assert errors(found) == {"scores"}
    assert "validation/accuracy is 0.9999, but measures 0.9" in text(found)


def test_target_that_was_not_met(copied, audit, forge):
    run = copied("jax")

    def change(events):
        first = of_kind(events, "evaluation")[0]
        assert not first["target_is_met"]
        first["metrics"]["validation/accuracy"] = 0.99
        first["target_is_met"] = True
        end = events[-1]
        end["submission_time"] = first["ledger"][SUBMISSION]

    forge(run, change)
    assert "snapshot" in errors(audit(run))  # the one that is kept is of another evaluation


def test_changed_snapshot(copied, audit):
    run = copied("pytorch")
    path = run.path / TARGET_SNAPSHOT_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    found = audit(run)
    assert errors(found) == {"snapshot"}
    assert found.measured == ()


def test_changed_snapshot_with_its_new_hash_in_the_log(copied, audit, forge):
    run = copied("pytorch")
    path = run.path / TARGET_SNAPSHOT_FILE
    save_file({name: 1.01 * array for name, array in load_file(path).items()}, path)

    def change(events):
        decisive(events)["snapshot_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()

    forge(run, change)
    found = audit(run)
    assert errors(found) == {"scores"}
    assert "loss is " in text(found)


def test_snapshot_of_another_model(copied, audit, forge):
    run = copied("pytorch")
    path = run.path / TARGET_SNAPSHOT_FILE
    save_file({"weight": np.zeros(3, np.float32)}, path)

    def change(events):
        del decisive(events)["snapshot_sha256"]

    forge(run, change)
    found = audit(run)
    assert errors(found) == {"scores"}
    assert warnings(found) == {"snapshot"}
    assert "other arrays than the model" in text(found)


def test_missing_snapshot(copied, audit):
    run = copied("jax")
    (run.path / TARGET_SNAPSHOT_FILE).unlink()
    shutil.rmtree(run.path / "checkpoints")
    assert errors(audit(run)) == {"snapshot"}


# ------------------------------------------------------------------------------------ log and clock


def test_edited_line_breaks_the_chain(copied, audit):
    run = copied("pytorch")
    log = run.path / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"step": 1', b'"step": 2', 1))
    assert "chain" in errors(audit(run))


def test_shorter_time(copied, audit, forge):
    run = copied("pytorch")

    def change(events):
        for event in (decisive(events), events[-1]):
            event["ledger"][SUBMISSION] /= 2
        events[-1]["submission_time"] = decisive(events)["ledger"][SUBMISSION]

    forge(run, change)
    assert {"time", "ledger"} & errors(audit(run))


def test_time_moved_to_another_account(copied, audit, forge):
    run = copied("jax")

    def change(events):
        moved = 0.3
        for event in (decisive(events), events[-1]):
            event["ledger"][SUBMISSION] -= moved
            event["ledger"]["record_keeping"] += moved
        events[-1]["submission_time"] = decisive(events)["ledger"][SUBMISSION]

    forge(run, change)
    assert errors(audit(run)) == {"clock"}


def test_result_that_is_not_the_evaluations(copied, audit, forge):
    run = copied("pytorch")

    def change(events):
        events[-1]["submission_time"] -= 0.5

    forge(run, change)
    assert errors(audit(run)) == {"status"}


def test_evaluation_before_the_period(copied, audit, forge):
    run = copied("jax")

    def change(events):
        first = next(event for event in events if event["event"] == "evaluation")
        early = json.loads(json.dumps(first))
        early["step"] += 1
        early["ledger"][SUBMISSION] += 0.01
        events.insert(events.index(first) + 1, early)

    forge(run, change)
    found = audit(run)
    assert errors(found) == {"budget"}
    assert "0.01 s after the one before" in text(found)


def test_changed_table(copied, audit):
    run = copied("pytorch")
    table = run.path / EVALS_FILE
    table.write_text(table.read_text().replace("0.", "1.", 1))
    assert errors(audit(run)) == {"view"}


# ------------------------------------------------------------------------------------ rules


def change_start(**fields):
    def change(events):
        for event in of_kind(events, "trial_started"):
            event.update(fields)

    return change


def test_other_seed(copied, audit, forge):
    run = copied("pytorch")
    forge(run, change_start(seeds={"data": 1, "init": 2, "submission": 3}))
    assert errors(audit(run)) == {"seeds"}


def test_other_root_seed(copied, audit, forge):
    run = copied("pytorch")
    forge(run, change_start(root_seed=7))
    assert errors(audit(run)) == {"seeds", "hyperparameters"}


def test_easier_target(copied, audit, forge):
    run = copied("pytorch")

    def change(events):
        events[0]["target"]["validation"] = 0.98

    forge(run, change)
    assert "target" in errors(audit(run))


@pytest.mark.parametrize(
    "fields",
    [
        {"max_allowed_runtime_sec": 1000.0},
        {"eval_period_time_sec": 0.1},
        {"dropout_rate": 0.5},
        {"model": {"width": 4096}},
        {"quirks": ["none such"]},
        {"workload": "none such"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_other_rules(copied, audit, forge, fields):
    run = copied("pytorch")
    forge(run, change_start(**fields))
    assert "rules" in errors(audit(run, data_dir=None))


def test_other_hyperparameters(copied, audit, forge):
    run = copied("pytorch")

    def change(events):
        events[0]["hyperparameters"]["learning_rate"] *= 2

    forge(run, change)
    hparams = run.path / "hparams.json"
    values = json.loads(hparams.read_text())
    hparams.write_text(json.dumps(values | {"learning_rate": 2 * values["learning_rate"]}))
    assert errors(audit(run)) == {"hyperparameters"}


# ------------------------------------------------------------------------------------ warnings


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("harness", {"harness_hash": "0" * 64}),
        ("source", {"source_hash": "0" * 64}),
        ("source", {"submission_path": "/nowhere/submission.py"}),
        ("versions", {"versions": {"python": "3.0", "finishline": "0"}}),
        ("rules", {"max_global_steps": 10**6}),
        ("hyperparameters", {"tuning_search_space": "/nowhere/tuning_search_space.json"}),
    ],
)
def test_differences_that_need_not_matter(copied, audit, forge, kind, fields):
    run = copied("pytorch")
    forge(run, change_start(**fields))
    found = audit(run)
    assert found.verdict is Verdict.WARNINGS
    assert warnings(found) == {kind}


def test_traceback_in_the_output(copied, audit):
    run = copied("pytorch")
    (run.path / "worker.log").write_text("fine\nTraceback (most recent call last):\n  boom\n")
    found = audit(run)
    assert warnings(found) == {"output"}
    assert "worker.log:2" in text(found)


# ------------------------------------------------------------------------------------ containers

IMAGE = "sha256:" + "1" * 64
CONTAINER = {
    "network": "none",
    "root_is_read_only": True,
    "is_privileged": False,
    "ipc": "private",
    "user": "10001:10001",
    "capabilities_added": None,
    "capabilities_dropped": ["ALL"],
    "security_options": ["no-new-privileges:true"],
    "memory_bytes": 2**30,
    "memory_and_swap_bytes": 2**30,
    "pids_limit": 512,
    "cpus": "0-1",
    "shm_bytes": 2**28,
    "image": {"id": IMAGE, "digests": []},
    "mounts": [
        {"source": "/data/digits/train", "destination": "/data/digits/train", "is_writable": False},
        {"source": "/run/x", "destination": "/exchange", "is_writable": True},
    ],
}


def in_container(**changes):
    """Makes the record that of a trial in a container that had ``changes``."""
    limits = {"memory_bytes": 2**30, "cpus": "0-1", "pids": 512, "shm_bytes": 2**28}

    def change(events):
        events[0]["executor"] = "docker"
        events[0]["docker"] = {"image": IMAGE, "limits": limits}
        worker = {**events[0], "event": "worker", "when": "started", **CONTAINER, **changes}
        events[:] = [event for event in events if event["event"] != "worker"]
        events.insert(1, worker)

    return change


def test_container_with_its_limits(copied, audit, forge):
    run = copied("pytorch")
    forge(run, in_container())
    assert audit(run).verdict is Verdict.SOUND


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"memory_bytes": 2**31, "memory_and_swap_bytes": 2**31}, "memory_bytes was"),
        ({"memory_and_swap_bytes": -1}, "could swap"),
        ({"cpus": ""}, "cpus was ''"),
        ({"network": "bridge"}, "network was 'bridge'"),
        ({"root_is_read_only": False}, "root_is_read_only was False"),
        ({"user": "0:0"}, "user was root"),
        ({"capabilities_dropped": []}, "had capabilities"),
        ({"security_options": []}, "could gain privileges"),
        ({"image": {"id": "sha256:2", "digests": []}}, "the image was"),
        (
            {"mounts": [{"source": "/d", "destination": "/data", "is_writable": True}]},
            "could write to '/data'",
        ),
        (
            {"mounts": [{"source": "/run/docker.sock", "destination": "/s", "is_writable": False}]},
            "engine's socket",
        ),
    ],
)
def test_container_with_more(copied, audit, forge, changes, words):
    run = copied("pytorch")
    forge(run, in_container(**changes))
    found = audit(run)
    assert errors(found) == {"limits"}
    assert words in text(found)


# ------------------------------------------------------------------------------------ command line


def test_not_sound_has_exit_code_1(copied):
    run = copied("pytorch")
    (run.path / TARGET_SNAPSHOT_FILE).unlink()
    process = run_audit(run.path)
    assert process.returncode == 1
    assert ": not sound" in process.stdout
    assert "[snapshot]" in process.stdout


@pytest.mark.parametrize("arguments", [(), ("/nowhere",), ("--tolerance=much", "x")])
def test_bad_input_is_one_sentence(arguments):
    process = run_audit(*arguments)
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert process.stderr.startswith("error: ")


def test_missing_data_are_told(copied, forge, tmp_path):
    run = copied("pytorch")
    (tmp_path / "file").touch()
    process = run_audit(run.path, f"--data_dir={tmp_path / 'file'}")
    assert process.returncode == 2
    assert "--data_dir" in process.stderr


def test_folder_without_a_log(tmp_path, audit):
    run_dir = tmp_path / "trial_1"
    run_dir.mkdir()
    assert audit(Run(run_dir, None)).verdict is Verdict.UNSOUND
