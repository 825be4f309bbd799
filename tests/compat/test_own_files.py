"""A submission finds its own files under every name by which published ones import theirs."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from finishline.compat.plan import MOUNTS, make_plan
from finishline.compat.tree import SourceTree

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content))
    return folder / "submission.py"


def load(path: Path, expression: str) -> object:
    """The value of ``expression`` in the submission, loaded by a process of its own."""
    code = (
        "import json; from finishline.compat.layer import Layer;"
        f"submission = Layer({str(path)!r}, []).load(); print(json.dumps({expression}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


HELPER = {"helper.py": "class Config: pass\nSIZE = 3\n"}


@pytest.mark.parametrize(
    ("files", "is_mounted"),
    [
        ({"submission.py": "from helper import SIZE", **HELPER}, False),
        ({"submission.py": "from .helper import SIZE", "__init__.py": "", **HELPER}, False),
        (
            {"submission.py": "from submissions.self_tuning.muon.helper import SIZE", **HELPER},
            True,
        ),
        (
            {
                "submission.py": "import submissions.v05.Team_16.external.caspr.helper as h\n"
                "SIZE = h.SIZE",
                **HELPER,
            },
            True,
        ),
        (
            {
                "submission.py": "from submissions_algorithms.board.shampoo import helper\n"
                "SIZE = helper.SIZE",
                **HELPER,
            },
            True,
        ),
        (
            {"submission.py": "from deep.helper import SIZE", "parts/deep/helper.py": "SIZE = 3"},
            True,
        ),
    ],
)
def test_names(tmp_path, files, is_mounted):
    path = write(tmp_path / "entry", files)
    assert load(path, "submission.SIZE") == 3
    assert bool(SourceTree(path).mounted) is is_mounted
    plan = make_plan(path, "pytorch", None)
    assert (MOUNTS in plan.shims) is is_mounted


def test_one_file_is_one_module_under_all_its_names(tmp_path):
    path = write(
        tmp_path / "shampoo",
        {
            "__init__.py": "",
            "submission.py": """
                import submissions_algorithms.leaderboard.external_tuning.shampoo.parts.kinds as a
                from parts import kinds as b
                import kinds as c
                from .parts import kinds as d
                import tools
                """,
            "parts/kinds.py": "from tools import LIST\nclass Config: pass",
            "parts/tools.py": "LIST = []",
        },
    )
    assert load(path, "len({id(m.Config) for m in (submission.a, submission.b)})") == 1
    same = "all(m is submission.a for m in (submission.b, submission.c, submission.d))"
    assert load(path, same) is True
    assert load(path, "submission.a.LIST is submission.tools.LIST") is True


def test_folders_around_the_submission_come_before_mounts(tmp_path):
    path = write(
        tmp_path / "submissions/self_tuning/muon",
        {
            "submission.py": "from submissions.self_tuning.muon.helper import SIZE\n"
            "from submissions.v05.Team_16.muon.other import NAME",
            "other.py": "NAME = 'other'",
            **HELPER,
        },
    )
    assert load(path, "[submission.SIZE, submission.NAME]") == [3, "other"]


def test_files_that_are_imported_by_no_one_do_not_count(tmp_path):
    files = {"submission.py": "import torch", "old.py": "import jax\njax.tree_map(1)\n("}
    assert make_plan(write(tmp_path / "entry", files), "pytorch", None).shims == ()


def test_a_foreign_package_is_not_taken_for_an_own_file(tmp_path):
    tree = SourceTree(write(tmp_path / "entry", {"submission.py": "import other.helper", **HELPER}))
    assert tree.mounted == {}
