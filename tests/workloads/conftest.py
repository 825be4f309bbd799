"""Every workload at a size for tests: shrunk where it is large, and with data that are made up."""

import pytest

from finishline.workload import all_workloads
from workloads.samples import prepare_sample

_SMALL = {name: workload.shrunk() for name, workload in all_workloads().items()}
_READERS = {workload.dataset.name: workload for workload in _SMALL.values()}


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A data directory with the data of all workloads that ``shrunk`` gives, each made once."""
    folder = tmp_path_factory.mktemp("data")
    for workload in _READERS.values():
        if workload.is_embedded or workload.mini_dataset is not None:
            workload.dataset.prepare(folder)
        else:
            prepare_sample(workload, folder)
    return folder


@pytest.fixture(scope="module", params=_SMALL)
def workload(request):
    """Each workload in turn, shrunk where it is large."""
    return _SMALL[request.param]


@pytest.fixture(scope="module", params=_READERS)
def dataset(request):
    """Each data set that those read."""
    return _READERS[request.param].dataset
