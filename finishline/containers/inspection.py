"""What the engine reports of a container, for the record: as it is, not as it was asked for."""

from collections.abc import Mapping
from typing import Any

import docker

from finishline.containers.engine import ENGINE_ERRORS

# Fields of the inspection's HostConfig, and our names for them.
_HOST_FIELDS = {
    "network": "NetworkMode",
    "root_is_read_only": "ReadonlyRootfs",
    "is_privileged": "Privileged",
    "capabilities_added": "CapAdd",
    "capabilities_dropped": "CapDrop",
    "security_options": "SecurityOpt",
    "pids_limit": "PidsLimit",
    "memory_bytes": "Memory",
    "memory_and_swap_bytes": "MemorySwap",
    "cpus": "CpusetCpus",
    "shm_bytes": "ShmSize",
    "ipc": "IpcMode",
    "pid_namespace": "PidMode",
    "user_namespace": "UsernsMode",
    "tmpfs": "Tmpfs",
    "devices": "Devices",
    "runtime": "Runtime",
}


def describe_container(client: docker.DockerClient, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """A container by its inspection, as JSON.

    Args:
      client: the engine.
      attrs: what ``inspect`` returns.
    """
    host = attrs["HostConfig"]
    return {
        "container": attrs["Id"],
        "name": attrs["Name"].lstrip("/"),
        "image": _describe_image(client, attrs["Image"]),
        "user": attrs["Config"]["User"],
        **{name: host.get(field) for name, field in _HOST_FIELDS.items()},
        "log_driver": host["LogConfig"]["Type"],
        "ulimits": {one["Name"]: [one["Soft"], one["Hard"]] for one in host["Ulimits"] or ()},
        "gpus": [
            {"count": one["Count"], "ids": one["DeviceIDs"]}
            for one in host.get("DeviceRequests") or ()
        ],
        "mounts": [
            {
                "type": mount["Type"],
                "source": mount.get("Source"),
                "destination": mount["Destination"],
                "is_writable": mount["RW"],
            }
            for mount in attrs["Mounts"]
        ],
        "environment": sorted(attrs["Config"]["Env"]),
        "engine": _describe_engine(client),
    }


def _describe_image(client: docker.DockerClient, image_id: str) -> dict[str, Any]:
    attrs = client.images.get(image_id).attrs
    return {
        "id": attrs["Id"],
        "digests": attrs.get("RepoDigests") or [],
        "labels": attrs["Config"].get("Labels") or {},
    }


def _describe_engine(client: docker.DockerClient) -> dict[str, Any]:
    try:
        info = client.info()
    except ENGINE_ERRORS:
        return {}
    return {
        "version": info.get("ServerVersion"),
        "cgroup_version": info.get("CgroupVersion"),
        "storage_driver": info.get("Driver"),
        "security_options": info.get("SecurityOptions"),
        "kernel": info.get("KernelVersion"),
    }
