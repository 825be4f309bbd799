"""Every workload at a size for tests, with data that are made when a test first needs them."""

import sys
from pathlib import Path

import pytest

from finishline.workload import all_workloads
from workloads.samples import prepare_sample

sys.path.append(str(Path(__file__).parent))  # for ``parity``

# A full-size workload is shrunk; one whose data are small has them made up.
_SMALL = {name: workload.shrunk() for name, workload in all_workloads().items()}
_READERS = {workload.dataset.name: workload for workload in _SMALL.values()}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A data directory that the fixtures ``workload`` and ``dataset`` fill."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module", params=_SMALL)
def workload(request, data_dir):
    """Each workload in turn, shrunk where it is large; its data are prepared."""
    return _prepared(_SMALL[request.param], data_dir)


@pytest.fixture(scope="module", params=_READERS)
def dataset(request, data_dir):
    """Each data set of ``workload`` once, prepared."""
    return _prepared(_READERS[request.param], data_dir).dataset


@pytest.fixture(scope="session")
def prepared(data_dir):
    """A function that prepares the data of a workload and returns it."""
    return lambda workload: _prepared(workload, data_dir)


def _prepared(workload, data_dir):
    if workload.is_embedded or workload.mini_dataset is not None:
        workload.dataset.prepare(data_dir)
    else:
        prepare_sample(workload, data_dir)
    return workload
