"""The checker's command line: report, exit code, bad input, and what it does not import."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from finishline.checking.folder import PLACEHOLDER
from finishline.frameworks import FRAMEWORKS
from finishline.new import create
from finishline.submission import REFERENCE_SUBMISSIONS

ROOT = REFERENCE_SUBMISSIONS.parent
INFO = "submission_info.yml"
SOURCE = "pytorch/submission.py"


@pytest.fixture
def good(tmp_path):
    folder = create("algorithm", FRAMEWORKS, tmp_path)
    info = (folder / INFO).read_text()
    (folder / INFO).write_text(info.replace(PLACEHOLDER, "Ada Lovelace"))
    return folder


def run(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "finishline.check", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
    )


def test_command_line_passes(good):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(good, "--workloads=")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, which other work on the machine hardly changes; 0.3 s.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == str(good)
    assert lines[-1] == "0 problems: passed."
    assert "limits: 1 MiB a file, 10 MiB in all, 200 files" in done.stdout


def test_command_line_fails(good):
    source = good / SOURCE
    source.write_text(
        source.read_text().replace("import torch\n", "import torch\nimport socket\n", 1)
    )
    (good / INFO).write_text((good / INFO).read_text().replace("license: Apache-2.0\n", ""))
    done = run(good, "--workloads=")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert f"    problem: {INFO}: lacks 'license'; add `license: Apache-2.0`." in lines
    assert any(re.match(rf"    hint: {SOURCE}:\d+: `socket` ", line) for line in lines)
    assert lines[-1] == "1 problem, 1 hint: not ready to be scored."


def test_names_of_files_do_not_steer_the_terminal(good):
    (good / "red\x1b[31m\n.so").write_text("")
    done = run(good, "--workloads=")
    assert done.returncode == 1
    assert "problem: red\\x1b[31m\\n.so: is compiled" in done.stdout
    assert "\x1b" not in done.stdout


def test_report_as_json(good):
    (good / INFO).unlink()
    done = run("--json", good, "--workloads=")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert (report["passed"], report["problems"], report["hints"]) == (False, 1, 0)
    sections = {section["name"]: section for section in report["sections"]}
    assert [finding["level"] for finding in sections["metadata"]["findings"]] == ["problem"]
    assert sections["dry run"]["was_skipped"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ("SUBMISSION_DIR",)),
        (["nowhere"], ("nowhere", "check the path")),
        (["reference_submissions/nadamw", "--workloads=digitz"], ("digitz", "digits")),
        (["reference_submissions/nadamw", "--docker_memory=1g"], ("--executor",)),
        (["reference_submissions/nadamw", "--workloads=wmt"], ("wmt",)),
        (["reference_submissions/nadamw", "--workloads=fastmri"], ("fastmri", "prepare")),
        (["reference_submissions/nadamw", "--framework=torch"], ("--framework",)),
        (["reference_submissions/nadamw", "more"], ("more",)),
    ],
)
def test_bad_input(arguments, words):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_static_part_imports_no_framework(good):
    code = (
        "import sys; from pathlib import Path; from finishline.checking.checker import *;"
        f"assert check(Folder.open({str(good)!r})).exit_code == 0;"
        "print({'jax', 'torch', 'optax', 'flax', 'scipy', 'pandas', 'docker'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(good)
    )
    assert done.stdout.strip() == "set()"
