"""Every kind of finding is provoked, in records that are otherwise without fault."""

import dataclasses
import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from finishline import records
from finishline.bookkeeping import Bookkeeping
from finishline.clock import Account
from finishline.display import PlainDisplay
from finishline.errors import Status
from finishline.records import RunDirectory
from finishline.submission import find_submission
from finishline.trial import Outcome, TrialConfig
from finishline.workload import find_workload
from scoring.check_logs import check_runs, main
from scoring.checks.findings import KINDS, Severity
from scoring.runs import find_runs

REPOSITORY = Path(__file__).parents[2]
WORKLOAD = find_workload("digits").variant(
    "digits", eval_period_time_sec=0.004, max_allowed_runtime_sec=5.0
)
SUBMISSION = find_submission(str(REPOSITORY / "reference_submissions" / "momentum"), "jax")


class NoDisplay(PlainDisplay):
    def start(self, config, ledger):
        pass

    def evaluation(self, step, metrics):
        pass

    def message(self, text):
        pass

    def end(self, outcome):
        pass


def config_of(root: Path, study: int, trial: int, **changes) -> TrialConfig:
    submission = dataclasses.replace(SUBMISSION, name=changes.pop("submission", SUBMISSION.name))
    folder = f"{submission.name}/study_{study}/{WORKLOAD.name}_jax/trial_{trial}"
    config = TrialConfig(
        workload=WORKLOAD,
        submission=submission,
        tuning_ruleset="external",
        study=study,
        trial=trial,
        hyperparameters={"learning_rate": 0.1},
        root_seed=0,
        data_dir=root / "data",
        run_dir=root / folder,
    )
    return dataclasses.replace(config, **changes)


def race(books: Bookkeeping, values: tuple[float, ...], first_step: int = 10) -> None:
    for index, value in enumerate(values):
        step = first_step + 10 * index
        books.ledger.switch(Account.SUBMISSION)
        time.sleep(0.005)
        books.ledger.switch(Account.RECORD_KEEPING)
        books.record("scalars", rows=[[step, {"loss": 1.0 - value, "lr": 0.1}]])
        files = {"snapshot.safetensors": b"parameters", "state_0.bin": b"state"}
        books.checkpoint(step, files, [], {"position": step, "last_because": None})
        books.evaluation(step, {"validation/accuracy": value, "validation/loss": float("nan")}, b"")


def record(
    root: Path, study=0, trial=1, *, values=(0.2, 0.5, 0.99), status=None, **changes
) -> Path:
    """A trial as the referee records one, without the training."""
    config = config_of(root, study, trial, **changes)
    run = RunDirectory(config.run_dir)
    books = Bookkeeping(config, run, NoDisplay())
    books.start()
    books.record("batch_size", global_batch_size=64)
    race(books, values)
    finish(books, run, values, status)
    return config.run_dir


def finish(books: Bookkeeping, run: RunDirectory, values, status=None) -> None:
    is_met = max(values) >= WORKLOAD.target.validation
    status = status or (Status.TARGET_REACHED if is_met else Status.BUDGET_SPENT)
    seconds = run.evaluations()[-1]["ledger"]["submission"]
    outcome = Outcome(
        status=status,
        message="",
        submission_time=seconds,
        step=run.evaluations()[-1]["step"],
        best=max(values),
    )
    books.end(outcome, 0, 0)
    run.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = tmp_path_factory.mktemp("template")
    for submission in ("a_jax", "b_jax"):
        for study in (0, 1):
            for trial in (1, 2):
                values = (0.1, 0.99) if trial == 1 else (0.3, 0.2)
                record(path, study, trial, submission=submission, values=values)
    return path


@pytest.fixture
def root(tmp_path, template):
    """A competition without fault: two submissions, two studies, two trials each."""
    return shutil.copytree(template, tmp_path / "competition")


@pytest.fixture
def trial(tmp_path):
    return record(tmp_path / "competition")


def kinds_in(path: Path) -> set[str]:
    return {finding.kind for finding in check_runs(find_runs(path))}


def read_lines(trial: Path) -> list[bytes]:
    return (trial / "events.jsonl").read_bytes().splitlines(keepends=True)


def edit_log(trial: Path, edit, *, derive: bool = True) -> None:
    """Changes the events and hides it: chain, tables and ``meta.json`` are made anew."""
    events = [json.loads(line) for line in read_lines(trial)]
    events = edit(events) or events
    previous, lines = "0" * 64, []
    for index, event in enumerate(events):
        event.update(index=index, previous=previous)
        lines.append((json.dumps(event) + "\n").encode())
        previous = hashlib.sha256(lines[-1]).hexdigest()
    (trial / "events.jsonl").write_bytes(b"".join(lines))
    if derive:
        (trial / "meta.json").unlink()
        run = RunDirectory(trial, resume=True)
        run.write_eval_view()
        run.write_measurements_view()
        start = [event for event in events if event["event"] == "trial_started"][-1]
        meta = start | (events[-1] if events[-1]["event"] == "trial_ended" else {})
        records.write_json(
            trial / "meta.json",
            {
                name: value
                for name, value in meta.items()
                if name not in ("index", "time", "event", "previous")
            },
        )
        run.close()


def edit_json(path: Path, edit) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def evaluations_of(events):
    return [event for event in events if event["event"] == "evaluation"]


# ------------------------------------------------------------------------------ without fault


def test_nothing_is_found_in_good_records(root, capsys):
    assert main([str(root)]) == 0
    assert capsys.readouterr().out.endswith("0 errors, 0 warnings.\n")


def test_nothing_is_found_after_resumes(tmp_path):
    config = config_of(tmp_path / "competition", 0, 1)
    for values in ((0.1, 0.2), (0.3,), (0.4, 0.99)):
        run = RunDirectory(config.run_dir, resume=True)
        books = Bookkeeping(config, run, NoDisplay())
        recovery = books.start()
        race(books, values, 10 + (recovery.step if recovery else 0))
        if values[-1] < 0.99:
            books.ledger.switch(Account.SUBMISSION)
            run.close()  # as a kill would
    finish(books, run, values)
    assert len([event for event in run.events if event["event"] == "resumed"]) == 2
    assert kinds_in(tmp_path) == set()


def test_nothing_is_found_in_a_trial_that_was_run(make_runner):
    momentum = REPOSITORY / "reference_submissions" / "momentum"
    runner = make_runner(
        framework="pytorch", workload="digits", submission_path=momentum, max_global_steps=30
    )
    code, output = runner.run()
    assert code == Status.BUDGET_SPENT.exit_code, output
    assert runner.events_of("evaluation")
    assert kinds_in(runner.experiment) == set()


@pytest.mark.parametrize("part", ["a_jax", "a_jax/study_0", "a_jax/study_0/digits_jax/trial_1"])
def test_any_part_can_be_checked(root, part, monkeypatch):
    assert kinds_in(root / part) == set()
    monkeypatch.chdir(root / part)
    assert kinds_in(Path()) == set()


# ------------------------------------------------------------------------------ single trials


def cut_off_evaluations(events):
    return [event for event in events if event["event"] != "evaluation"]


def rename_event(events):
    events[1]["event"] = "batch_sizes"


def start_late(events):
    return events[1:2] + events[:1] + events[2:]


def go_on_after_the_end(events):
    event = {"time": events[-1]["time"], "event": "message", "text": "late"}
    return [*events, event, events[-1]]


def miscount_resumes(events):
    evaluations_of(events)[1]["resumes"] = 3


def step_back(events):
    evaluations_of(events)[1]["step"] = 5


def charge_less(events):
    evaluations_of(events)[1]["ledger"]["setup"] = 0.0


def set_clock_back(events):
    early = datetime.datetime.fromisoformat(events[3]["time"]) - datetime.timedelta(seconds=0.1)
    events[3]["time"] = early.isoformat()


def leave_out_time(events):
    for event in events[:4]:
        early = datetime.datetime.fromisoformat(event["time"]) - datetime.timedelta(seconds=9)
        event["time"] = early.isoformat()


def spend_too_much(events):
    events[0]["max_allowed_runtime_sec"] = 0.001


def measure_too_often(events):
    events[0]["eval_period_time_sec"] = 1.0


def move_the_target(events):
    events[0]["target"]["validation"] = 0.995


def claim_the_target(events):
    events[0]["target"]["validation"] = 0.995
    for event in evaluations_of(events):
        event["target_is_met"] = False


def deny_the_target(events):
    events[-1]["status"] = "budget_spent"


def improve_the_result(events):
    events[-1]["submission_time"] /= 2


def invent_a_status(events):
    events[-1]["status"] = "splendid"


def lose_the_metric(events):
    del evaluations_of(events)[0]["metrics"]["validation/accuracy"]


def measure_words(events):
    evaluations_of(events)[0]["metrics"]["validation/loss"] = "low"


def end_interrupted(events):
    events[-1]["status"] = "interrupted"


@pytest.mark.parametrize(
    ("edit", "kind", "words"),
    [
        (rename_event, "schema", "'batch_sizes' is not known"),
        (measure_words, "schema", "metrics.validation/loss is 'low' instead of int or float"),
        (start_late, "order", "first event is batch_size"),
        (go_on_after_the_end, "order", "follows the end"),
        (miscount_resumes, "order", "resumes is 3 after 0"),
        (step_back, "time", "step goes from 10 to 5"),
        (charge_less, "time", "setup goes from"),
        (set_clock_back, "time", "before that of the line above"),
        (leave_out_time, "ledger", "s passed"),
        (spend_too_much, "budget", "after the budget of 0.001 s"),
        (measure_too_often, "budget", "the evaluation period is 1 s"),
        (move_the_target, "status", "target_is_met is True"),
        (claim_the_target, "status", "no evaluation meets the target"),
        (deny_the_target, "status", "meets the target"),
        (improve_the_result, "status", "the result is"),
        (invent_a_status, "status", "'splendid' is not known"),
        (lose_the_metric, "status", "no 'validation/accuracy'"),
        (end_interrupted, "unfinished", "ended with interrupted"),
    ],
)
def test_a_changed_log(trial, edit, kind, words):
    edit_log(trial, edit)
    findings = check_runs(find_runs(trial))
    assert {finding.kind for finding in findings} == {kind}
    assert any(words in finding.message for finding in findings), findings


def remove(name):
    return lambda trial: (trial / name).unlink()


def change_a_line(trial):
    lines = read_lines(trial)
    lines[2] = lines[2].replace(b"lr", b"LR")
    (trial / "events.jsonl").write_bytes(b"".join(lines))


def lose_a_line(trial):
    lines = read_lines(trial)
    (trial / "events.jsonl").write_bytes(b"".join(lines[:1] + lines[2:]))


def tear_the_end(trial):
    end = read_lines(trial)[-1]
    (trial / "events.jsonl").write_bytes(b"".join(read_lines(trial)[:-1]) + end[:40])


def write_zeros(trial):
    lines = read_lines(trial)
    (trial / "events.jsonl").write_bytes(b"".join(lines[:2]) + b"\0" * 40 + b"\n")


def improve_a_table(trial):
    path = trial / "eval_measurements.csv"
    path.write_text(path.read_text().replace("0.2", "0.9"))


def shorten_a_table(trial):
    path = trial / "measurements.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def damage_a_checkpoint(trial):
    (trial / "checkpoints" / "step_0000000030" / "state_0.bin").write_bytes(b"other")


def half_a_checkpoint(trial):
    (trial / "checkpoints" / ".tmp_step_40").mkdir()


def rename_a_checkpoint(trial):
    (trial / "checkpoints" / "step_0000000030").rename(trial / "checkpoints" / "step_0000000099")


def with_meta(**changes):
    return lambda trial: edit_json(trial / "meta.json", lambda meta: meta.update(changes))


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        (remove("events.jsonl"), {"files"}),
        (remove("meta.json"), {"files"}),
        (remove("hparams.json"), {"files"}),
        (remove("eval_measurements.csv"), {"view"}),
        (remove("measurements.csv"), {"view"}),
        (lambda trial: (trial / "meta.json").write_bytes(b"\xff{"), {"files"}),
        (lambda trial: (trial / "meta.json").write_text("[1]"), {"files"}),
        (lambda trial: (trial / "events.jsonl").write_bytes(b""), {"schema"}),
        (lambda trial: edit_json(trial / "meta.json", lambda m: m.pop("seeds")), {"schema"}),
        (with_meta(step="7"), {"schema", "meta"}),
        (with_meta(status="budget_spent"), {"meta"}),
        (with_meta(root_seed=7), {"meta"}),
        (lambda trial: (trial / "hparams.json").write_text('{"learning_rate": 1}'), {"meta"}),
        (change_a_line, {"chain", "view"}),
        (lose_a_line, {"chain"}),
        (write_zeros, {"schema"}),
        (tear_the_end, {"chain", "unfinished", "meta"}),
        (improve_a_table, {"view"}),
        (shorten_a_table, {"view"}),
        (lambda trial: (trial / "eval_measurements.csv").write_bytes(b"\xff\0"), {"view"}),
        (damage_a_checkpoint, {"checkpoint"}),
        (half_a_checkpoint, {"checkpoint"}),
        (rename_a_checkpoint, {"checkpoint"}),
        (lambda trial: trial.rename(trial.with_name("trial_7")), {"identity"}),
        (lambda trial: trial.rename(trial.with_name("trial_1_old")), {"layout"}),
    ],
)
def test_a_changed_folder(trial, fault, kinds):
    fault(trial)
    assert kinds_in(trial.parents[3]) == kinds


def test_a_running_trial_may_have_tables_behind_its_log(trial):
    edit_log(trial, lambda events: events[:-1])
    with_meta(status="running", message="")(trial)
    shorten_a_table(trial)
    (trial / "measurements.csv").unlink()
    assert kinds_in(trial) == {"unfinished"}


def test_quick_leaves_the_content_of_checkpoints_out(trial, capsys):
    damage_a_checkpoint(trial)
    assert main([str(trial)]) == 1
    assert main([str(trial), "--quick"]) == 0
    (trial / "checkpoints" / "step_0000000030" / "state_0.bin").unlink()
    assert main([str(trial), "--quick"]) == 1
    assert "state_0.bin is missing" in capsys.readouterr().out


def test_refunds_at_a_resume(tmp_path):
    config = config_of(tmp_path / "competition", 0, 1)
    run = RunDirectory(config.run_dir)
    books = Bookkeeping(config, run, NoDisplay())
    books.start()
    race(books, (0.1, 0.2))
    finish(books, run, (0.1, 0.2), Status.INFRASTRUCTURE_ERROR)
    run = RunDirectory(config.run_dir, resume=True)
    books = Bookkeeping(config, run, NoDisplay())
    books.start()
    race(books, (0.99,), 30)
    finish(books, run, (0.99,))
    assert kinds_in(tmp_path) == set()

    def refund(events):
        at = next(i for i, event in enumerate(events) if event["event"] == "resumed")
        for event in events[at:]:
            if "ledger" in event:
                event["ledger"]["submission"] -= 0.005
        events[-1]["submission_time"] -= 0.005

    edit_log(config.run_dir, refund)
    assert kinds_in(tmp_path) == {"ledger"}


# ------------------------------------------------------------------------------ between trials


def test_a_copied_trial(root):
    folder = root / "a_jax" / "study_0" / "digits_jax"
    shutil.rmtree(folder / "trial_2")
    shutil.copytree(folder / "trial_1", folder / "trial_2")
    assert kinds_in(root) == {"identity", "seeds", "duplicate"}


def test_the_same_seeds_in_two_studies(root):
    study = root / "a_jax" / "study_1" / "digits_jax"
    other = json.loads((root / "a_jax/study_0/digits_jax/trial_1/meta.json").read_text())
    edit_log(study / "trial_1", lambda events: events[0].update(seeds=other["seeds"]))
    messages = [finding.message for finding in check_runs(find_runs(root))]
    assert any("do not derive" in message for message in messages)
    assert any("data, init, submission are those of" in message for message in messages)


def test_another_root_seed_is_a_warning(tmp_path):
    record(tmp_path / "c", submission="a_jax")
    record(tmp_path / "c", submission="b_jax", root_seed=1)
    findings = check_runs(find_runs(tmp_path))
    assert {(f.kind, f.severity) for f in findings} == {("seeds", Severity.WARNING)}


def test_competitions_are_not_compared(tmp_path):
    record(tmp_path / "first")
    record(tmp_path / "second", num_devices=2)
    assert kinds_in(tmp_path) == set()


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (lambda start: start.update(source_hash="other"), "source"),
        (lambda start: start.update(num_devices=2), "machine"),
        (lambda start: start["machine"].update(processor="other"), "machine"),
        (lambda start: start["machine"].update(system="other"), "machine"),
        (lambda start: start["machine"].update(memory_bytes=10), "machine"),
        (lambda start: start["versions"].update(numpy="1.0"), "versions"),
        (lambda start: start["target"].update(test=0.5), "rules"),
        (lambda start: start.update(max_allowed_runtime_sec=9.0), "rules"),
        (lambda start: start.update(tuning_ruleset="self"), "rules"),
    ],
)
def test_trials_that_do_not_fit_each_other(root, edit, kind):
    edit_log(root / "a_jax" / "study_0" / "digits_jax" / "trial_1", lambda events: edit(events[0]))
    findings = check_runs(find_runs(root))
    assert [finding.kind for finding in findings] == [kind]


# ------------------------------------------------------------------------------ published logs

HEADER = "accumulated_submission_time,global_step,score,validation/loss\n"


@pytest.fixture
def publish(tmp_path):
    def write(rows: str | None, header: str = HEADER, trial: int = 1, **meta) -> Path:
        folder = tmp_path / "logs" / "s" / "study_0" / "wmt_jax" / f"trial_{trial}"
        folder.mkdir(parents=True)
        (folder / "hparams.json").write_text("{}")
        if rows is not None:
            (folder / "eval_measurements.csv").write_text(header + rows)
        if meta:
            (folder / "meta_data_0.json").write_text(json.dumps(meta))
        return tmp_path / "logs"

    return write


def test_a_published_log_without_fault(publish, capsys):
    root = publish("1,1,1,3\n2,2,2,nan\n3,3,3,\n", **{"workload.max_allowed_runtime_sec": 2.5})
    assert main([str(root)]) == 0
    assert "1 trial has neither events.jsonl nor meta.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (None, "files"),
        ("", "table"),
        ("1,1,1\n", "table"),
        ("1,1,1,1,1\n", "table"),
        ("1,1,x,1\n", "table"),
        ("1,1,2,1\n", "table"),
        ("2,1,2,1\n1,2,1,1\n", "time"),
        ("1,2,1,1\n2,1,2,1\n", "time"),
        ("nan,2,nan,1\n", "time"),
        ("1,1,1,1\n9,2,9,1\n10,3,10,1\n", "budget"),
    ],
)
def test_a_fault_in_a_published_log(publish, rows, kind):
    root = publish(rows, **{"workload.max_allowed_runtime_sec": 5})
    assert kinds_in(root) == {kind}


def test_missing_columns_of_a_published_log(publish):
    assert kinds_in(publish("1\n", header="time\n")) == {"table"}


def test_a_published_log_twice(publish):
    publish("1,1,1,3\n")
    assert kinds_in(publish("1,1,1,3\n", trial=2)) == {"duplicate"}


# ------------------------------------------------------------------------------ the command


def test_every_kind_is_in_the_tests():
    text = Path(__file__).read_text()
    assert [kind for kind in KINDS if f'"{kind}"' not in text] == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no directory"),
        (lambda path: path.write_text(""), "no directory"),
        (lambda path: path.mkdir(), "holds no trial"),
        (lambda path: path.symlink_to(path), "no directory"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(tmp_path, make, words, capsys):
    make(tmp_path / "x")
    assert main([str(tmp_path / "x")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_a_line_names_severity_file_remedy_and_kind(trial, capsys):
    edit_log(trial, deny_the_target)
    assert main([str(trial)]) == 1
    line, summary = capsys.readouterr().out.splitlines()
    assert line.startswith(f"error: {trial}/events.jsonl:")
    assert line.endswith("look for what changed the log. [status]")
    assert summary.endswith("1 error, 0 warnings.")


NASTY = [
    b"",
    b"\0" * 100,
    b"\xff\xfe",
    b"{",
    b"null\n",
    b"[" * 100_000 + b"\n",
    b'{"index": ' + b"9" * 10_000 + b"}\n",
    b"a" * 10_000_000 + b"\n",
    b"1,2\n" * 3 + b'"',
    b'{"event": "evaluation", "index": 0, "time": "9999-99", "previous": ""}\n',
]


@pytest.mark.parametrize(
    "name", ["events.jsonl", "meta.json", "hparams.json", "eval_measurements.csv"]
)
@pytest.mark.parametrize("content", NASTY, ids=range(len(NASTY)))
def test_no_content_makes_a_traceback(trial, name, content):
    (trial / name).write_bytes(content)
    assert main([str(trial)]) == 1


@pytest.mark.parametrize("content", NASTY, ids=range(len(NASTY)))
def test_no_content_of_a_published_log_makes_a_traceback(publish, content):
    root = publish("")
    next(root.rglob("*.csv")).write_bytes(content)
    assert main([str(root)]) == 1


def test_folders_links_and_pipes_in_place_of_files(root):
    trial = root / "a_jax" / "study_0" / "digits_jax" / "trial_1"
    for name in ("events.jsonl", "meta.json", "hparams.json", "eval_measurements.csv"):
        (trial / name).unlink()
    os.mkfifo(trial / "events.jsonl")
    assert main([str(trial)]) == 1
    (trial / "events.jsonl").unlink()
    (trial / "meta.json").mkdir()
    assert main([str(trial)]) == 1
    (trial / "meta.json").rmdir()
    (trial / "hparams.json").symlink_to("hparams.json")
    (trial / "loop").symlink_to(root)
    (root / "loop").symlink_to(root)
    assert main([str(root)]) == 1


def test_random_damage_makes_no_traceback(trial):
    import random

    generator = random.Random(0)
    files = [path for path in trial.rglob("*") if path.is_file()]
    contents = {path: path.read_bytes() for path in files}
    for _ in range(150):
        path = generator.choice(files)
        damaged = bytearray(contents[path])
        for _ in range(generator.randint(1, 4)):
            at = generator.randrange(len(damaged) + 1)
            damaged[at : at + generator.randint(0, 9)] = generator.randbytes(
                generator.randint(0, 9)
            )
        path.write_bytes(damaged)
        assert main([str(trial)]) in (0, 1)
        path.write_bytes(contents[path])


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from scoring.check_logs import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'jax', 'flax', 'pandas', 'scipy', 'rich', 'sklearn', 'grain'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "what is checked" in done.stdout
