"""The image of the workers: found by what it is made of, or built, or pulled by digest."""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import docker
from docker import errors
from docker.models.images import Image

import finishline
from finishline import harness
from finishline.containers import context
from finishline.containers.engine import LABEL
from finishline.containers.lock import FOLDER, ROOT, Lock, Platform, load_lock
from finishline.containers.untargeted import without_targets
from finishline.containers.wheels import fetch_wheels
from finishline.errors import UserError
from finishline.frameworks import FRAMEWORKS

DOCKERFILE = ROOT / "docker" / "Dockerfile"
DEFAULT_BASE = "python:3.11-slim-bookworm"
REPOSITORY = "finishline-worker"
# Labels of images; the Dockerfile sets them.
KEY_LABEL = "org.finishline.key"
SOURCE_LABEL = "org.finishline.source"
BASE_LABEL = "org.finishline.base"
PACKAGES_LABEL = "org.finishline.packages"
PLATFORM_LABEL = "org.finishline.platform"
FRAMEWORK_LABEL = "org.finishline.framework"
_SOURCES = ("finishline", "workloads")
_BUILD_TIMEOUT = 3600  # seconds without a word from the engine
_LONG_STEP = re.compile(r"Step \d+/\d+ : (FROM|COPY|RUN) .{,70}")
_PROBE = """
import ensurepip, os, platform, sys, venv
glibc = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
print("%d.%d" % sys.version_info[:2], platform.machine(), glibc)
"""


@dataclasses.dataclass(frozen=True)
class WorkerImage:
    """What the image of a worker is made of.

    Attributes:
      frameworks: what it holds of 'jax' and 'pytorch'.
      base: name or id of the base image.
      device: 'cpu' or 'gpu'.
    """

    frameworks: tuple[str, ...] = FRAMEWORKS
    base: str = DEFAULT_BASE
    device: str = "cpu"

    @property
    def framework(self) -> str:
        """The Dockerfile's name for the frameworks: 'jax', 'pytorch' or 'both'."""
        return "both" if len(self.frameworks) > 1 else self.frameworks[0]

    def key(self, base_id: str) -> str:
        """SHA-256 of all that goes into the image, hexadecimal."""
        digest = hashlib.sha256()
        for path in [DOCKERFILE, *self.lock_files]:
            digest.update(f"{path.name}\n{path.read_text()}\n".encode())
        told = (harness.source_hash(), base_id, self.framework, self.device)
        digest.update("\n".join(told).encode())
        return digest.hexdigest()

    @property
    def lock_files(self) -> list[Path]:
        """The locks of its packages, for all versions of Python."""
        names = [f"{framework}-{self.device}-py*.txt" for framework in self.frameworks]
        return sorted(path for name in names for path in FOLDER.glob(name))


def get_image(
    client: docker.DockerClient, wanted: WorkerImage, tell: Callable[[str], None]
) -> Image:
    """The image, from the engine's store or built.

    Raises:
      UserError: the base image cannot be had or used, packages cannot be had, or the build fails.
    """
    base = find_or_pull(client, wanted.base, tell)
    key = wanted.key(base.id)
    for image in client.images.list(filters={"label": f"{KEY_LABEL}={key}"}):
        return image
    platform = probe(client, base, wanted.base)
    lock = load_lock(wanted.frameworks, wanted.device, platform.python)
    files = context_files(wanted, lock, platform, tell)
    tell(f"Building {REPOSITORY} ({wanted.framework}, {wanted.device}) from {wanted.base}")
    arguments = {
        "BASE_IMAGE": base.id,
        "FRAMEWORK": wanted.framework,
        "DEVICE": wanted.device,
        "VERSION": finishline.__version__,
        "SOURCE_HASH": harness.source_hash(),
        "LOCK_HASH": lock.digest,
        "PACKAGES": " ".join(f"{name}=={v}" for name, v in sorted(lock.versions.items())),
        "PLATFORM": str(platform),
        "BASE_ID": base.id,
        "KEY": key,
    }
    tag = f"{REPOSITORY}:{wanted.framework}-{wanted.device}-{key[:12]}"
    return build(client, DOCKERFILE, files, arguments, tag, tell)


def context_files(
    wanted: WorkerImage, lock: Lock, platform: Platform, tell: Callable[[str], None]
) -> dict[str, Path | bytes]:
    """The build context but for the Dockerfile, by names in it: sources, locks and wheels."""
    return {**_own_files(wanted), **wheel_files(lock, platform, tell)}


def _own_files(wanted: WorkerImage) -> dict[str, bytes]:
    """The files of the repository that the image is made of, by their names in the context."""
    sources = [ROOT / name for name in _SOURCES]
    found = [p for p in harness.source_files() if any(p.is_relative_to(s) for s in sources)]
    names = {str(path.relative_to(ROOT)): path for path in [*found, *wanted.lock_files]}
    return {name: without_targets(name, path.read_bytes()) for name, path in names.items()}


def wheel_files(lock: Lock, platform: Platform, tell: Callable[[str], None]) -> dict[str, Path]:
    """The wheels of ``lock``, by their names in the context."""
    return {f"wheels/{path.name}": path for path in fetch_wheels(lock, platform, tell)}


def build(
    client: docker.DockerClient,
    dockerfile: Path,
    files: Mapping[str, Path | bytes],
    arguments: Mapping[str, str],
    tag: str,
    tell: Callable[[str], None],
) -> Image:
    """Builds an image with the classical builder, which every engine has.

    Args:
      client: the engine.
      dockerfile: its instructions.
      files: the context, by names in it.
      arguments: build arguments.
      tag: name of the image.
      tell: gets each step.

    Raises:
      UserError: a step fails; the message has its last output.
    """
    output: list[str] = []
    lines = client.api.build(
        fileobj=context.stream({**files, "Dockerfile": dockerfile}),
        custom_context=True,
        buildargs=dict(arguments),
        tag=tag,
        rm=True,
        forcerm=True,
        network_mode="none",
        timeout=_BUILD_TIMEOUT,
        decode=True,
    )
    for line in lines:
        _follow(line, output, tell)
    return client.images.get(tag)


def _follow(line: Mapping[str, Any], output: list[str], tell: Callable[[str], None]) -> None:
    text = line.get("stream", "").strip()
    if step := _LONG_STEP.match(text):
        tell(f"  {step[0]}")
    if text:
        output.append(text)
    if "error" in line:
        last = " ".join(output[-3:])[-500:]
        raise UserError(f"The image cannot be built: {line['error'].strip()} (after: {last}).")


def packages_in(worker: Image) -> dict[str, str]:
    """The versions of the packages in an image of workers, by normalised name."""
    pins = [pin.partition("==") for pin in worker.labels[PACKAGES_LABEL].split()]
    return {name: version for name, _, version in pins}


def find_or_pull(client: docker.DockerClient, name: str, tell: Callable[[str], None]) -> Image:
    """The image called ``name``, from the engine's store or a registry.

    Raises:
      UserError: neither has it.
    """
    try:
        return client.images.get(name)
    except errors.ImageNotFound:
        tell(f"Pulling {name}")
    except errors.APIError as error:
        raise UserError(f"{name!r} is no name of an image ({error.explanation}).") from error
    try:
        found = client.images.pull(name)
        return found[0] if isinstance(found, list) else found
    except errors.APIError as error:
        raise UserError(
            f"There is no image {name}, and it cannot be pulled ({error.explanation}); check the "
            "name and the network, or give another image."
        ) from error


def find_worker(
    client: docker.DockerClient, name: str, frameworks: Iterable[str], tell: Callable[[str], None]
) -> Image:
    """The image of workers called ``name`` (an id, or ``repository@sha256:...``), checked.

    Raises:
      UserError: there is none, or it is not of this version's workers.
    """
    image = find_or_pull(client, name, tell)
    source = image.labels.get(SOURCE_LABEL)
    if source is None:
        raise UserError(f"{name} is no image of workers; build one as docker/README.md says.")
    if source != harness.source_hash():
        raise UserError(
            f"{name} was built from other sources of the harness ({source[:12]}, not "
            f"{harness.source_hash()[:12]}); build it anew, or check out the version it is of."
        )
    held = image.labels[FRAMEWORK_LABEL]
    if absent := [f for f in frameworks if held not in ("both", f)]:
        raise UserError(f"{name} has no {absent[0]}, only {held}; give another image.")
    return image


def probe(client: docker.DockerClient, image: Image, name: str) -> Platform:
    """The platform of the Python in ``image``.

    Raises:
      UserError: it has none with which images of workers can be built.
    """
    try:
        output = _run(client, image, ["python3", "-c", _PROBE])
    except errors.DockerException as error:
        raise UserError(
            f"The base image {name} has no python3 with venv, or none on glibc ({error}); use "
            f"another, such as {DEFAULT_BASE}."
        ) from error
    platform = Platform.parse(output)
    if platform.python < (3, 11):
        version = ".".join(map(str, platform.python))
        raise UserError(f"The base image {name} has Python {version}; use one with 3.11 or newer.")
    return platform


def _run(client: docker.DockerClient, image: Image, command: list[str]) -> str:
    """The output of ``command`` in a container of its own, which is removed in any case."""
    container = client.containers.create(
        image.id, command, entrypoint="", network_mode="none", labels={LABEL: "probe"}
    )
    try:
        container.start()
        code = container.wait()["StatusCode"]
        output = container.logs().decode(errors="replace")
    finally:
        container.remove(force=True)
    if code != 0:
        raise errors.ContainerError(container, code, command, image.id, output[-300:])
    return output
