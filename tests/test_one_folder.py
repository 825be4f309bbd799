"""A new workload and a new submission are one folder each; all tests that concern them find it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TREE = ("finishline", "workloads", "reference_submissions", "tests")
# What exists -> the name of its copy. One workload is generated, one has files to be obtained.
WORKLOADS = {"quadratic_deep": "bowl", "mnist": "numerals"}
SUBMISSIONS = {"template": "newcomer"}
# Tests that compile for seconds are collected but not run.
TOO_LONG = "distribution or checkpoint or bits or agree or falls or compiled"

LISTING = """
from pathlib import Path
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    Path("collected.txt").write_text("\\n".join(item.nodeid for item in items))
"""


def copy_under_a_new_name(folder: Path, new: str) -> None:
    old, target = folder.name, folder.with_name(new)
    shutil.copytree(folder, target)
    for path in target.rglob("*"):
        if path.suffix in (".py", ".json", ".yml"):
            text = path.read_text().replace(old, new)
            # AlgoPerf has no numbers for the new name.
            path.write_text(text.replace(f'published("{new}")', f'published("{old}")'))


@pytest.fixture
def tree(tmp_path):
    """The repository with one folder more for each new thing, and not one file changed."""
    for name in TREE:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for old, new in WORKLOADS.items():
        copy_under_a_new_name(tmp_path / "workloads" / old, new)
    for old, new in SUBMISSIONS.items():
        copy_under_a_new_name(tmp_path / "reference_submissions" / old, new)
    (tmp_path / "listing.py").write_text(LISTING)
    return tmp_path


def test_new_folders_are_tested_like_the_old_ones(tree):
    names = " or ".join([*WORKLOADS.values(), *SUBMISSIONS.values()])
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "listing", "-p", "no:cacheprovider", "-q"),
            *("-k", f"({names}) and not ({TOO_LONG})"),
            *(
                "tests/workloads",
                "tests/reference_submissions",
                "tests/finishline/test_submission.py",
            ),
        ],
        cwd=tree,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 25
    collected = set((tree / "collected.txt").read_text().splitlines())
    for old, new in (WORKLOADS | SUBMISSIONS).items():
        of_old = {test for test in collected if re.search(rf"\[.*\b{old}\b", test)}
        of_old -= {test for test in of_old if "published" in test}  # what AlgoPerf has
        assert len(of_old) > 5
        for test in of_old:
            name, parameters = test.split("[", 1)
            assert f"{name}[{parameters.replace(old, new)}" in collected
