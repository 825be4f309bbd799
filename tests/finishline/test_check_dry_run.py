"""The dry run: what goes wrong in training is told in a sentence, and nothing is left behind."""

import re
import tempfile

import pytest

from finishline.checking.checker import check
from finishline.checking.dry_run import DryRun
from finishline.checking.folder import Folder
from finishline.new import create

SOURCE = "pytorch/submission.py"
NAN = "        for p in model_params.parameters():\n            p.mul_(float('nan'))\n"
FAULTS = {
    # (what is replaced, by what, the sentence, what else is told)
    "raises": (
        "    optimizer = torch",
        "    raise RuntimeError('no luck')\n    optimizer = torch",
        r"pytorch on digits: submission_error: .*no luck",
        r'File "pytorch/submission.py", line \d+',
    ),
    "diverges": (
        "    optimizer = torch",
        f"    with torch.no_grad():\n{NAN}    optimizer = torch",
        r"pytorch on digits: .*(nan|NaN|finite)",
        "",
    ),
}


@pytest.fixture
def submission(tmp_path):
    return create("algorithm", ("pytorch",), tmp_path)


@pytest.fixture
def plan(data_dir, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield DryRun(workloads=["digits"], data_dir=data_dir)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("old", "new", "sentence", "details"), FAULTS.values(), ids=FAULTS)
def test_fault_in_training_is_told(submission, plan, old, new, sentence, details):
    source = (submission / SOURCE).read_text()
    assert source.count(old) == 1
    (submission / SOURCE).write_text(source.replace(old, new))
    report = check(Folder.open(submission), dry_run=plan)
    assert report.exit_code == 1
    (finding,) = report.sections[-1].findings
    assert re.search(sentence, finding.message), finding.message
    assert "\n" not in finding.message
    assert re.search(details, finding.details), finding.details


def test_it_runs_where_and_how_the_flags_say(submission, plan):
    flags = {"executor": "no_such_place"}
    told = []
    plan = DryRun(plan.workloads, plan.data_dir, more_flags=flags, tell=told.append)
    (finding,) = check(Folder.open(submission), dry_run=plan).sections[-1].findings
    assert "--executor=no_such_place" in finding.message
    assert told == ["dry run: pytorch on digits ..."]


def test_it_is_left_out_before_what_it_needs_is_mended(submission, plan):
    (submission / SOURCE).write_text("import torch\n")
    section = check(Folder.open(submission), dry_run=plan).sections[-1]
    assert section.was_skipped
    assert "mended" in section.summary
