"""The checker's dry run in a container."""

import pytest

from finishline.checking.checker import check
from finishline.checking.dry_run import DryRun
from finishline.checking.folder import Folder
from finishline.containers.executor import DockerExecutor
from finishline.containers.limits import Limits
from finishline.new import create

pytestmark = pytest.mark.docker

OPTIMIZER = "    optimizer = torch"
TELL = "    import os\n    raise RuntimeError(f\"contained: {os.path.exists('/.dockerenv')}\")\n"


@pytest.fixture
def dry_run(worker_image, data_dir):
    return DryRun(
        workloads=["digits"],
        data_dir=data_dir,
        executor=DockerExecutor(worker_image, Limits.parse()),
        more_flags={"executor": "docker", "docker_image": worker_image},
    )


def test_new_submission_passes(tmp_path, dry_run):
    report = check(Folder.open(create("algorithm", ["pytorch"], tmp_path)), dry_run=dry_run)
    assert report.exit_code == 0, report.describe()
    assert "pytorch on digits" in report.sections[-1].summary


def test_it_runs_in_the_container(tmp_path, dry_run):
    folder = create("algorithm", ["pytorch"], tmp_path)
    source = folder / "pytorch" / "submission.py"
    source.write_text(source.read_text().replace(OPTIMIZER, TELL + OPTIMIZER))
    (finding,) = check(Folder.open(folder), dry_run=dry_run).sections[-1].findings
    assert "contained: True" in finding.message
