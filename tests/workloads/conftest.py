"""Data for every workload: what is not generated is made up, in the original file format."""

import pytest

from finishline.workload import all_workloads
from workloads.samples import prepare_sample


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A data directory in which the data of all workloads are prepared."""
    folder = tmp_path_factory.mktemp("data")
    for workload in all_workloads().values():
        prepare_sample(workload, folder)
    return folder
