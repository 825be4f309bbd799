"""What holds for every workload: one line in a `WORKLOADS` tuple adds a workload to all of it."""

import re
import subprocess
import sys

import numpy as np
import pytest

from finishline.benchmark import NEWEST, definition_for
from finishline.data import splits
from finishline.workload import SPLITS, all_workloads

WORKLOADS = all_workloads()


def test_definitions_import_no_framework():
    code = (
        "import sys; from finishline.workload import all_workloads; all_workloads();"
        "heavy = {'torch', 'jax', 'flax', 'optax', 'sklearn', 'grain', 'pandas', 'scipy',"
        "'PIL', 'h5py', 'pyarrow'};"
        "sys.exit(repr(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_splits_lie_in_folders_of_their_own(dataset, data_dir):
    folders = [dataset.folder(data_dir, split) for split in SPLITS]
    assert len({folder.resolve() for folder in folders}) == 3
    assert all(folder.name == split for folder, split in zip(folders, SPLITS, strict=True))


def test_splits_have_the_same_fields_and_no_common_example(dataset, data_dir):
    fields, seen = [], []
    for split in SPLITS:
        source = dataset.open(data_dir, split)
        batch = source.gather(np.arange(len(source)))
        assert {"inputs", "targets"} <= batch.keys()
        assert all(np.isfinite(array).all() for array in batch.values())
        fields.append({name: (a.shape[1:], a.dtype) for name, a in batch.items()})
        seen.append(set(_contents(source, batch)))  # one may come twice
    assert fields[0] == fields[1] == fields[2]
    assert sum(map(len, seen)) == len(set.union(*seen))


def _contents(source, batch):
    """What makes up each example of ``source``, of which ``batch`` has them all."""
    names = sorted(batch.keys() - {"targets", "weights"})
    for index in range(len(source)):
        if len({len(array) for array in batch.values()}) == 1:
            yield b"".join(batch[name][index].tobytes() for name in names)
        else:  # rows of fields do not belong together
            example = source.gather(np.array([index]))
            yield b"".join(example[name].tobytes() for name in names)


def test_each_split_can_be_read_alone(dataset, data_dir, tmp_path):
    for split in SPLITS:
        folder = dataset.folder(tmp_path / split, split)
        folder.parent.mkdir(parents=True)
        folder.symlink_to(dataset.folder(data_dir, split))
        assert len(dataset.open(tmp_path / split, split)) > 0


@pytest.mark.parametrize("name", WORKLOADS)
def test_definitions_are_sound(name):
    workload = WORKLOADS[name]
    assert re.fullmatch(r"[a-z0-9_]+", workload.name)
    assert workload.target.metric in workload.metrics
    assert 0 < workload.eval_period_time_sec < workload.max_allowed_runtime_sec
    assert 0 <= workload.dropout_rate < 1
    assert workload.step_hint > 0
    assert (workload.mini_dataset is None) or workload.mini_dataset.name.endswith("_mini")
    assert not workload.quirks, "versions of the benchmark bring the quirks"
    quirks = definition_for(workload, NEWEST).quirks
    assert set(workload.quirk_models) <= quirks or workload.is_embedded or name == "cifar"
    assert workload.package == f"workloads.{workload.package.split('.')[1]}"


def test_preparing_twice_writes_nothing(dataset, data_dir):
    files = [
        path
        for split in SPLITS
        for path in dataset.folder(data_dir, split).iterdir()
        if path.name != splits.MANIFEST
    ]
    before = [path.stat().st_mtime_ns for path in files]
    dataset.prepare(data_dir)
    assert [path.stat().st_mtime_ns for path in files] == before


def test_generated_data_take_the_room_that_they_claim(dataset, data_dir):
    if "generated" not in dataset.origin and dataset.name != "digits":
        pytest.skip("made up in another size")
    folders = [dataset.folder(data_dir, split) for split in SPLITS]
    taken = sum(path.stat().st_size for folder in folders for path in folder.rglob("*"))
    assert 0.7 < taken / dataset.disk_bytes < 1.4
