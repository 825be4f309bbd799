"""What holds for every workload: one line in a `WORKLOADS` tuple adds a workload to all of it."""

import re
import subprocess
import sys

import numpy as np
import pytest

from finishline.data import splits
from finishline.workload import SPLITS, all_workloads

WORKLOADS = all_workloads()


@pytest.fixture(params=WORKLOADS)
def workload(request):
    return WORKLOADS[request.param]


def test_definitions_import_no_framework():
    code = (
        "import sys; from finishline.workload import all_workloads; all_workloads();"
        "heavy = {'torch', 'jax', 'flax', 'optax', 'sklearn', 'grain', 'pandas', 'scipy'};"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_splits_lie_in_folders_of_their_own(workload, data_dir):
    folders = [workload.dataset.folder(data_dir, split) for split in SPLITS]
    assert len({folder.resolve() for folder in folders}) == 3
    assert all(folder.name == split for folder, split in zip(folders, SPLITS, strict=True))


def test_splits_have_the_same_fields_and_no_common_example(workload, data_dir):
    fields, seen = [], []
    for split in SPLITS:
        source = workload.dataset.open(data_dir, split)
        batch = source.gather(np.arange(len(source)))
        assert {"inputs", "targets"} <= batch.keys()
        assert all(np.isfinite(array).all() for array in batch.values())
        fields.append({name: (a.shape[1:], a.dtype) for name, a in batch.items()})
        seen.append({row.tobytes() for row in batch["inputs"]})  # an image may come twice
    assert fields[0] == fields[1] == fields[2]
    assert sum(map(len, seen)) == len(set.union(*seen))


def test_each_split_can_be_read_alone(workload, data_dir, tmp_path):
    for split in SPLITS:
        folder = workload.dataset.folder(tmp_path / split, split)
        folder.parent.mkdir(parents=True)
        folder.symlink_to(workload.dataset.folder(data_dir, split))
        assert len(workload.dataset.open(tmp_path / split, split)) > 0


def test_definitions_are_sound(workload):
    assert re.fullmatch(r"[a-z0-9_]+", workload.name)
    assert workload.target.metric in workload.metrics
    assert 0 < workload.eval_period_time_sec < workload.max_allowed_runtime_sec
    assert 0 <= workload.dropout_rate < 1
    assert workload.step_hint > 0
    assert workload.package == f"workloads.{workload.package.split('.')[1]}"


def test_preparing_twice_writes_nothing(workload, data_dir):
    files = [
        path
        for split in SPLITS
        for path in workload.dataset.folder(data_dir, split).iterdir()
        if path.name != splits.MANIFEST
    ]
    before = [path.stat().st_mtime_ns for path in files]
    workload.dataset.prepare(data_dir)
    assert [path.stat().st_mtime_ns for path in files] == before
