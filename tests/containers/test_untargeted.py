"""The sources in the images have no values of targets, and are otherwise the same."""

import ast
import subprocess
import sys

from finishline import harness
from finishline.containers.untargeted import without_targets

TELL = """
import math
from finishline.workload import all_workloads
for name, workload in all_workloads().items():
    target = workload.target
    assert math.isnan(target.validation) and math.isnan(target.test), name
    assert not target.is_met(target.validation)
    print(name, target.metric, target.minimize)
"""


def test_no_workload_has_a_value_and_all_are_there(tmp_path):
    from finishline.workload import all_workloads

    root = harness.source_files()[0].parents[1]
    for path in harness.source_files():
        copy = tmp_path / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(without_targets(path.name, path.read_bytes()))
    told = subprocess.run(
        [sys.executable, "-c", TELL],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    expected = [(n, w.target.metric, w.target.minimize) for n, w in all_workloads().items()]
    assert told.stdout.split() == [str(part) for row in expected for part in row]


def test_only_the_values_change():
    source = b"""x = (Target(metric="a", minimize=True, validation=-1.5, test=2), {"test": 3})
# \xc3\xa9
"""
    stripped = without_targets("workload.py", source)
    assert stripped.count(b"\n") == source.count(b"\n")
    assert b'metric="a", minimize=True' in stripped
    assert b'{"test": 3})\n# \xc3\xa9' in stripped
    ast.parse(stripped)
    assert b"1.5" not in stripped
    assert b"test=2" not in stripped
    assert without_targets("other.py", b"x = 1\n") == b"x = 1\n"
