"""Packages that a submission asks for: chosen beside the benchmark's own, locked, late to load."""

import docker
import pytest
from wheelhouse import make_wheel

from finishline.containers.engine import SUBMISSION_LABEL
from finishline.containers.lock import Lock, Platform
from finishline.containers.submission_image import Extras, get_submission_image, lock_of
from finishline.containers.wheels import fetch_wheels
from finishline.errors import UserError

PLATFORM = Platform((3, 11), "x86_64", (2, 36))
HELD = {"numpy": "2.4.6"}


def quiet(sentence: str) -> None:
    """Shows nothing."""


def test_no_requirements(submission):
    assert Extras.read(submission()).are_in(HELD)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["numpy<2"], r"requirements.txt, line 1: .*numpy<2.*numpy==2.4.6"),
        (["# a comment", "torch==2.0"], r"line 2: .*torch==2.0.*torch==2.13.0"),
        (["--index-url=https://example.org"], r"line 1: .*--index-url.*option"),
        (["foo @ https://example.org/foo.whl"], r"line 1: .*address"),
    ],
)
def test_what_moves_a_pin_or_is_no_requirement_is_told_without_an_engine(submission, lines, words):
    with pytest.raises(UserError, match=words):
        Extras.read(submission(*lines))


def test_what_the_image_holds_is_not_added(submission):
    assert Extras.read(submission("numpy>=2  # a comment")).are_in(HELD)


def test_lock_has_what_is_needed_beyond_the_image(submission, wheels):
    make_wheel(wheels, "outer", requires=["inner>=1", "numpy>=2"])
    make_wheel(wheels, "inner")
    make_wheel(wheels, "inner", "2.0")
    make_wheel(wheels, "numpy", "2.4.6")
    make_wheel(wheels, "numpy", "3.0")
    extras = Extras.read(submission("outer==1.0"))
    assert not extras.are_in(HELD)
    lock = extras.lock(HELD, PLATFORM)
    assert lock.versions == {"outer": "1.0", "inner": "2.0"}
    assert all(len(digests) == 1 for digests in lock.hashes.values())


def test_conflict_further_down_names_the_package_and_the_pin(submission, wheels):
    make_wheel(wheels, "outer", requires=["numpy<2"])
    make_wheel(wheels, "numpy", "1.26.0")
    make_wheel(wheels, "numpy", "2.4.6")
    with pytest.raises(UserError, match=r"outer 1.0, which needs numpy<2, .*has numpy==2.4.6"):
        Extras.read(submission("outer==1.0")).lock(HELD, PLATFORM)


def test_package_that_is_not_there_is_told(submission, wheels):
    with pytest.raises(UserError, match=r"mine/requirements.txt .*nosuch==1.0.*only wheels"):
        Extras.read(submission("nosuch==1.0")).lock(HELD, PLATFORM)


def test_wheels_are_downloaded_once_and_checked(wheels):
    wheel = make_wheel(wheels, "inner")
    told: list[str] = []
    lock = Extras(wheel, "inner==1.0\n").lock({}, PLATFORM)
    first = fetch_wheels(lock, PLATFORM, told.append)
    assert [path.name for path in first] == [wheel.name]
    assert fetch_wheels(lock, PLATFORM, told.append) == first
    assert len(told) == 1  # a damaged one is replaced, another one is not taken
    first[0].write_bytes(b"damaged")
    assert fetch_wheels(lock, PLATFORM, told.append) == first
    assert first[0].read_bytes() == wheel.read_bytes()
    other = Lock(lock.versions, {"inner": frozenset(["0" * 64])})
    with pytest.raises(UserError, match="cannot download the locked packages"):
        fetch_wheels(other, PLATFORM, told.append)


# What the wheel of a cheat may hold: a module in place of one of the harness's, and files that a
# Python runs when it starts.
CHEAT = {
    "outer.py": "import numpy\n",
    "safetensors/__init__.py": "raise SystemExit('replaced')\n",
    "cheat.pth": "import sys; print('started')\n",
    "sitecustomize.py": "print('started')\n",
}
LOAD = """
import sys
from finishline.submission import load_submission
import importlib.util
assert importlib.util.find_spec('outer') is None
load_submission('/tmp/submission.py')
import outer, safetensors
print(outer.__file__, safetensors.__file__)
"""


@pytest.fixture
def extended(engine, worker_image, submission, wheels):
    """The image of a submission that asks for a package with surprises, and its requirements."""
    make_wheel(wheels, "outer", files=CHEAT)
    extras = Extras.read(submission("outer==1.0"))
    worker = engine.images.get(worker_image)
    image = get_submission_image(engine, worker, extras, None, quiet)
    yield image, extras
    engine.images.remove(image.id, force=True)


@pytest.mark.docker
def test_image_of_a_submission(engine, worker_image, extended, run_in):
    image, extras = extended
    assert Lock.parse(lock_of(image)).versions == {"outer": "1.0"}
    assert image.labels[SUBMISSION_LABEL] == extras.digest
    assert image.attrs["Config"]["User"] == "10001:10001"
    worker = engine.images.get(worker_image)
    found = get_submission_image(engine, worker, extras, None, pytest.fail)
    assert found.id == image.id
    script = f'echo "import outer" > /tmp/submission.py; python -c "{LOAD}"'
    output = run_in(image.id, script).split()
    assert output[0] == "/opt/submission-packages/outer.py"
    assert output[1].startswith("/opt/venv/")


@pytest.mark.docker
def test_recorded_versions_are_taken_again(engine, worker_image, submission, wheels):
    make_wheel(wheels, "outer", "1.0")
    extras = Extras.read(submission("outer>=1"))
    recorded = extras.lock({}, PLATFORM)
    make_wheel(wheels, "outer", "2.0")
    worker = engine.images.get(worker_image)
    image = get_submission_image(engine, worker, extras, recorded, quiet)
    engine.images.remove(image.id, force=True)
    assert Lock.parse(lock_of(image)) == recorded


@pytest.mark.docker
def test_without_requirements_the_image_of_all_is_taken(engine, worker_image, submission):
    worker = engine.images.get(worker_image)
    image = get_submission_image(engine, worker, Extras.read(submission()), None, pytest.fail)
    assert image.id == worker_image
    assert isinstance(engine, docker.DockerClient)
