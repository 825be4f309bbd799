"""The image of the workers holds what it should, and nothing else."""

import time

import docker
import pytest

import finishline
from finishline import harness
from finishline.containers.image import (
    DOCKERFILE,
    WorkerImage,
    find_or_pull,
    find_worker,
    get_image,
    packages_in,
)
from finishline.errors import UserError

pytestmark = pytest.mark.docker


def quiet(sentence: str) -> None:
    """Shows nothing."""


@pytest.fixture(scope="module")
def image(engine, worker_image):
    return engine.images.get(worker_image)


def test_configuration(image):
    config = image.attrs["Config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"] == {"Test": ["NONE"]}
    assert not config["Entrypoint"]
    assert not config.get("ExposedPorts")
    assert not config.get("Volumes")


def test_labels(image, engine, base_image):
    labels = image.labels
    assert labels["org.opencontainers.image.version"] == finishline.__version__
    assert labels["org.finishline.base"] == engine.images.get(base_image).id
    assert labels["org.finishline.framework"] == "both"
    assert labels["org.finishline.device"] == "cpu"
    assert len(labels["org.finishline.source"]) == len(labels["org.finishline.lock"]) == 64
    assert packages_in(image)["jax"] == "0.10.2"


def test_frameworks_are_imported_by_the_user_on_a_read_only_root(run_in, worker_image):
    output = run_in(
        worker_image,
        "id -u; touch /opt/finishline/here 2>&1 || true\n"
        "python -c 'import finishline.worker, finishline.frameworks.jax.runtime'\n"
        "python -c 'import finishline.frameworks.pytorch.runtime as r; print(r.torch.version.cuda)'"
        "\n"
        "python -c \"from finishline.workload import find_workload as f; f('cifar_mini')"
        ".model_module('jax')\"\n",
    ).split("\n")
    assert output[0] == "10001"
    assert "Read-only" in output[1]
    assert output[2] == "None"


def test_no_installer_compiler_or_wheel_is_left(run_in, worker_image):
    output = run_in(
        worker_image,
        "for name in pip pip3 gcc cc g++ make git curl; do command -v $name || true; done\n"
        "find / -xdev '(' -name '*.whl' -o -path '*/pip/cache' -o -name ensurepip "
        "-o -type f -perm /6000 ')' 2>/dev/null || true\n"
        "python -c 'import pip' 2>/dev/null && echo pip || true\n",
    )
    assert [line for line in output.splitlines() if "/usr/lib/python3" not in line] == []


def test_what_the_referee_keeps_is_not_in_it(run_in, worker_image):
    output = run_in(worker_image, "ls /opt /opt/finishline /build 2>/dev/null || true").split()
    assert set(output) == {"/opt:", "/opt/finishline:", "finishline", "venv", "workloads"}
    asked = "from finishline.workload import find_workload as f; print(f('digits').target)"
    assert "validation=nan, test=nan" in run_in(worker_image, f'python -c "{asked}"')


def test_what_is_unchanged_is_found_in_two_seconds(engine, base_image, worker_image):
    started = time.monotonic()
    image = get_image(engine, WorkerImage(base=base_image), quiet)
    assert time.monotonic() - started < 2  # 0.1 s on a quiet machine
    assert image.id == worker_image


def test_key_depends_on_what_the_image_is_made_of(monkeypatch):
    keys = {
        WorkerImage().key("base"),
        WorkerImage().key("other base"),
        WorkerImage(("jax",)).key("base"),
        WorkerImage(device="gpu").key("base"),
    }
    monkeypatch.setattr(harness, "source_hash", lambda: "changed")
    assert len({*keys, WorkerImage().key("base")}) == 5


def test_unknown_base_is_told(engine):
    with pytest.raises(UserError, match=r"nosuch/image:1, .*cannot be pulled.*check the name"):
        get_image(engine, WorkerImage(base="nosuch/image:1"), quiet)


def test_base_without_python_is_told(engine):
    engine.api.import_image_from_data(bytes(1024), repository="finishline-empty", tag="test")
    try:
        with pytest.raises(UserError, match="finishline-empty:test has no python3 with venv"):
            get_image(engine, WorkerImage(base="finishline-empty:test"), quiet)
    finally:
        engine.images.remove("finishline-empty:test")


def test_name_that_is_none_is_told(engine):
    with pytest.raises(UserError, match="Not A Name"):
        find_or_pull(engine, "Not A Name", quiet)


def test_worker_images_are_told_from_others(engine, base_image, worker_image, monkeypatch):
    with pytest.raises(UserError, match="is no image of workers"):
        find_worker(engine, base_image, ["jax"], quiet)
    source = engine.images.get(worker_image).labels["org.finishline.source"]
    monkeypatch.setattr(harness, "source_hash", lambda: source)
    assert find_worker(engine, worker_image, ["jax", "pytorch"], quiet).id == worker_image
    monkeypatch.setattr(harness, "source_hash", lambda: "another")
    with pytest.raises(UserError, match="built from other sources"):
        find_worker(engine, worker_image, ["jax"], quiet)


def test_nothing_is_left_of_the_probe(engine, worker_image):
    assert engine.containers.list(all=True, filters={"label": "org.finishline.run=probe"}) == []


def test_dockerfile_needs_no_buildkit():
    text = DOCKERFILE.read_text()
    assert "--mount" not in text
    assert "# syntax" not in text
    assert docker.__file__.endswith("__init__.py")  # the SDK, not the folder `docker/`
