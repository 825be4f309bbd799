"""The image of one submission: that of all workers, and the packages it asks for beyond."""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import docker
from docker.models.images import Image
from packaging.requirements import Requirement

from finishline.checking.folder import Folder
from finishline.checking.report import Level
from finishline.checking.requirements import REQUIREMENTS_FILE, check_requirements
from finishline.containers.image import (
    BASE_LABEL,
    KEY_LABEL,
    PLATFORM_LABEL,
    build,
    packages_in,
    wheel_files,
)
from finishline.containers.lock import CONSTRAINTS, ROOT, Lock, Platform, normalised, resolve
from finishline.errors import UserError

DOCKERFILE = ROOT / "docker" / "submission.Dockerfile"
REPOSITORY = "finishline-submission"
REQUIREMENTS_LABEL = "org.finishline.requirements"  # set by the Dockerfile
# What pip says of a conflict: "foo 1.0 depends on numpy<2".
_DEPENDS = re.compile(r"^\s+(\S+ \S+) depends on (.+)$", re.MULTILINE)
_CONSTRAINT = re.compile(r"^\s+The user requested \(constraint\) (.+)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Extras:
    """The packages that a submission asks for beyond the benchmark's own.

    Attributes:
      path: the file that asks for them.
      text: its content; '' if there is none.
    """

    path: Path
    text: str

    @classmethod
    def read(cls, submission: Path) -> "Extras":
        """Those of the submission at ``submission``; needs neither network nor engine.

        Raises:
          UserError: the file cannot be read, a line is not a requirement, or moves a pin.
        """
        folder = Folder.open(submission)
        path = folder.home / REQUIREMENTS_FILE
        for finding in check_requirements(folder).findings:
            if finding.level is Level.PROBLEM:
                raise UserError(f"{path}, line {finding.line}: {finding.message}")
        text = path.read_text() if path.is_file() else ""
        lines = [line.split("#")[0].strip() for line in text.splitlines()]
        return cls(path, "".join(f"{line}\n" for line in lines if line))

    @property
    def digest(self) -> str:
        """SHA-256 of what is asked for, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def are_in(self, held: Mapping[str, str]) -> bool:
        """Whether an image with the packages ``held`` has all of them."""
        wanted = [Requirement(line) for line in self.text.splitlines()]
        return all(normalised(one.name) in held and not one.extras for one in wanted)

    def lock(self, held: Mapping[str, str], platform: Platform) -> Lock:
        """Versions and hashes of them and of what they need that an image does not hold.

        Args:
          held: the packages of the image, with the versions that stay as they are.
          platform: of the image.

        Raises:
          UserError: they cannot be installed beside the image's packages, or are not to be had.
        """
        pins = [f"{name}=={version}" for name, version in held.items()]
        constraints = [*CONSTRAINTS.read_text().splitlines(), *pins]
        lock, problem = resolve(self.text.splitlines(), constraints, platform)
        if problem:
            raise UserError(f"{self.path} {_told(problem)}")
        return lock.without(held)


def _told(problem: str) -> str:
    """What pip says of a failure, in words for a person."""
    depends, pinned = _DEPENDS.findall(problem), _CONSTRAINT.findall(problem)
    if depends and pinned:
        package, needs = depends[0]
        return (
            f"asks for {package}, which needs {needs}, but the benchmark has {pinned[0]} for "
            "everyone; ask for another version, or do without it."
        )
    errors = re.findall(r"^ERROR: (.+)$", problem, re.MULTILINE) or [problem.strip()]
    return (
        f"cannot be installed ({errors[-1][:300].rstrip('.')}); only wheels for the image's Python "
        "on the package index will do."
    )


def get_submission_image(
    client: docker.DockerClient,
    worker: Image,
    extras: Extras,
    recorded: Lock | None,
    tell: Callable[[str], None],
) -> Image:
    """The image of a submission, from the engine's store or built.

    Args:
      client: the engine.
      worker: the image of all workers.
      extras: what the submission asks for.
      recorded: the lock with which its earlier trials ran, if there were any.
      tell: shows a sentence to a person.

    Returns:
      ``worker`` itself if the submission asks for nothing that it does not hold.

    Raises:
      UserError: the packages cannot be had beside the benchmark's own, or the build fails.
    """
    held = packages_in(worker)
    if extras.are_in(held):
        return worker
    key = _key(worker, extras)
    for image in client.images.list(filters={"label": f"{KEY_LABEL}={key}"}):
        return image
    platform = Platform.parse(worker.labels[PLATFORM_LABEL])
    tell(f"Choosing versions of what {extras.path} asks for")
    lock = recorded or extras.lock(held, platform)
    if not lock.versions:
        return worker
    files: dict[str, Path | bytes] = {
        **wheel_files(lock, platform, tell),
        "requirements.txt": lock.format().encode(),
    }
    arguments = {
        "BASE_IMAGE": worker.labels[BASE_LABEL],
        "WORKER_IMAGE": worker.id,
        "KEY": key,
        "REQUIREMENTS_HASH": extras.digest,
        "REQUIREMENTS": " ".join(lock.format().replace("\\\n", " ").split()),
    }
    tell(f"Building the image of {extras.path.parent.name}")
    return build(client, DOCKERFILE, files, arguments, f"{REPOSITORY}:{key[:12]}", tell)


def lock_of(image: Image) -> str:
    """The lock of the packages that only a submission's image has; '' for others."""
    words = image.labels.get(REQUIREMENTS_LABEL, "")
    return Lock.parse(re.sub(" (?!--hash)", "\n", words)).format()


def _key(worker: Image, extras: Extras) -> str:
    told = "\n".join([worker.id, DOCKERFILE.read_text(), extras.text])
    return hashlib.sha256(told.encode()).hexdigest()
