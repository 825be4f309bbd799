"""Whether the containers of a trial were what they were to be, by what the engine reported."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from finishline.auditing.record import Record
from scoring.checks.findings import Finding, quoted

_REMEDY = "the submission may have had more than the others: run the trial again"
# Whatever the limits: the name in the engine's report -> what it must be.
_ALWAYS = {"network": "none", "root_is_read_only": True, "is_privileged": False, "ipc": "private"}
# The name of a limit -> the name in the engine's report.
_LIMITS = {
    "memory_bytes": "memory_bytes",
    "cpus": "cpus",
    "pids": "pids_limit",
    "shm_bytes": "shm_bytes",
}
_ROOT_USERS = ("", "0", "root")
_WRITABLE = PurePosixPath("/exchange")


def check_limits(record: Record) -> Iterator[Finding]:
    """Differences between what a trial asked for its containers and what the engine reported."""
    if record.start.get("executor", "local") != "docker":
        return
    asked = record.start["docker"]
    if not record.workers:
        problem = "the log does not say what the engine reported of the container"
        yield Finding("limits", record.log, problem, _REMEDY)
    for event in record.workers:
        for problem in _problems(asked, event):
            yield Finding("limits", record.log, problem, _REMEDY, event["index"] + 1)


def _problems(asked: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    limits = {
        theirs: asked["limits"][ours]
        for ours, theirs in _LIMITS.items()
        if asked["limits"].get(ours) is not None
    }
    for name, wanted in {**_ALWAYS, **limits}.items():
        if found.get(name) != wanted:
            yield f"the container's {name} was {quoted(found.get(name))} instead of {wanted!r}"
    if found.get("memory_and_swap_bytes") != found.get("memory_bytes"):
        yield "the container could swap"
    yield from _rights(found)
    image = found.get("image", {})
    # A name without a hash may have come to stand for another image since.
    is_exact = "sha256:" in asked["image"]
    if is_exact and asked["image"] not in (image.get("id"), *image.get("digests", ())):
        yield f"the image was {quoted(image.get('id'))} instead of {quoted(asked['image'])}"
    for mount in found.get("mounts", ()):
        if mount["is_writable"] and PurePosixPath(mount["destination"]) != _WRITABLE:
            yield f"the container could write to {quoted(mount['destination'])}"
        if str(mount["source"]).endswith("docker.sock"):
            yield "the container had the engine's socket"


def _rights(found: Mapping[str, Any]) -> Iterator[str]:
    user = str(found.get("user") or "").split(":")[0]
    if user in _ROOT_USERS:
        yield "the container's user was root"
    if "ALL" not in (found.get("capabilities_dropped") or ()) or found.get("capabilities_added"):
        yield "the container had capabilities"
    options = " ".join(found.get("security_options") or ())
    if "no-new-privileges" not in options:
        yield "the container could gain privileges"
    if "unconfined" in options:
        yield f"the container was not confined ({quoted(options)})"
