"""The images of a competition: one of all workers, and one for each submission that needs more."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import docker
from docker.models.images import Image

from finishline import devices
from finishline.competition import CompetitionConfig, plan
from finishline.containers.engine import connect
from finishline.containers.executor import DockerExecutor
from finishline.containers.image import DEFAULT_BASE, WorkerImage, find_worker, get_image
from finishline.containers.lock import Lock
from finishline.containers.submission_image import Extras, get_submission_image, lock_of
from finishline.records import read_json, write_json

IMAGES_FILE = "images.json"  # in the folder of the competition


def make_executors(config: CompetitionConfig) -> dict[Path, DockerExecutor]:
    """Makes the images of a competition, and records them in its folder.

    All that can be checked before is: bad names are told at once, not after the build.

    Returns:
      What starts the workers of a submission, by the path that the competition knows it by.

    Raises:
      UserError: an image cannot be had; one sentence says why.
    """
    not_made = dataclasses.replace(_asked_for(config), image="")
    planned = plan(dataclasses.replace(config, executor=not_made))
    frameworks = tuple(sorted({trial.submission.framework for _, trial in planned}))
    extras = {path: Extras.read(path) for path in (Path(s.submission_path) for s, _ in planned)}
    tell = functools.partial(print, flush=True)
    client = connect()
    worker = _worker_image(client, config, frameworks, tell)
    record = _Record(config.root / IMAGES_FILE)
    executors = {}
    for path, wanted in extras.items():
        image = get_submission_image(client, worker, wanted, record.lock(path, wanted), tell)
        record.add(path, image, wanted)
        executors[path] = dataclasses.replace(_asked_for(config), image=image.id)
    record.write()
    return executors


def _asked_for(config: CompetitionConfig) -> DockerExecutor:
    assert isinstance(config.executor, DockerExecutor)
    return config.executor


def _worker_image(
    client: docker.DockerClient,
    config: CompetitionConfig,
    frameworks: tuple[str, ...],
    tell: Callable[[str], None],
) -> Image:
    executor = _asked_for(config)
    if executor.image:
        return find_worker(client, executor.image, frameworks, tell)
    has_gpus = executor.limits.gpus != () and any(map(devices.count_gpus, frameworks))
    wanted = WorkerImage(
        frameworks, config.docker_base or DEFAULT_BASE, "gpu" if has_gpus else "cpu"
    )
    return get_image(client, wanted, tell)


class _Record:
    """What the images of a competition are made of, on disk."""

    def __init__(self, path: Path):
        self._path = path
        told = read_json(path)
        self._images = told if isinstance(told, dict) else {}

    def lock(self, submission: Path, extras: Extras) -> Lock | None:
        """The packages with which earlier trials of a submission ran, if it asks for the same."""
        told = self._images.get(str(submission))
        if told is None or told["requirements_hash"] != extras.digest or not told["lock"]:
            return None
        return Lock.parse(told["lock"])

    def add(self, submission: Path, image: Image, extras: Extras) -> None:
        """Adds the image of a submission."""
        self._images[str(submission)] = {
            "image": image.id,
            "digests": image.attrs["RepoDigests"],
            "labels": image.labels,
            "requirements": extras.text,
            "requirements_hash": extras.digest,
            "lock": lock_of(image),
        }

    def write(self) -> None:
        """Writes it, all or nothing."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, self._images)
