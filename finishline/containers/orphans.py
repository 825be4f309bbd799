"""Removing containers, mounts and folders: of one attempt, and of all whose organizer is dead."""

import contextlib
from pathlib import Path

import docker
from docker import errors
from docker.models.containers import Container

from finishline.containers.attempts import abandoned_folders, is_abandoned, remove_folder
from finishline.containers.cgroup import Cgroup
from finishline.containers.engine import LABEL, PLACE_LABEL


def remove_orphans(client: docker.DockerClient) -> list[str]:
    """Removes what organizers that are dead have left; returns what it was, in words.

    Raises:
      DockerException: the engine refuses or does not answer.
    """
    removed = []
    for container in client.containers.list(
        all=True, filters={"label": LABEL}, ignore_removed=True
    ):
        labels = container.labels
        attempt = Path(labels[LABEL])
        if PLACE_LABEL in labels and is_abandoned(attempt, labels[PLACE_LABEL]):
            remove_container(container)
            remove_folder(attempt)
            removed.append(f"the container {container.name}")
    for attempt in abandoned_folders():
        remove_folder(attempt)
        removed.append(f"the folder {attempt}")
    return removed


def remove_attempt(client: docker.DockerClient, attempt: Path) -> None:
    """Removes the containers of one attempt, if any are left, and its folder.

    Raises:
      DockerException: the engine refuses or does not answer.
    """
    label = f"{LABEL}={attempt}"
    for container in client.containers.list(
        all=True, filters={"label": label}, ignore_removed=True
    ):
        remove_container(container)
    remove_folder(attempt)


def _labelled(client: docker.DockerClient, label: str) -> list[Container]:
    return client.containers.list(all=True, filters={"label": label}, ignore_removed=True)


def remove_container(container: Container) -> None:
    """Ends and removes a container, frozen or not; does nothing if it is gone.

    Raises:
      DockerException: the engine refuses or does not answer.
    """
    with contextlib.suppress(errors.NotFound):
        _thaw(container)
        container.remove(force=True, v=True)


def _thaw(container: Container) -> None:
    """In version 1 of control groups, signals do not reach who is frozen."""
    container.reload()
    if container.status == "paused":
        container.unpause()
    with contextlib.suppress(OSError):
        pid = container.attrs["State"]["Pid"]
        cgroup = Cgroup.of(pid) if pid else None
        if cgroup is not None:
            cgroup.thaw()
