"""Starts workers in containers: what a container gets, and what it does not."""

import contextlib
import dataclasses
import os
from pathlib import Path, PurePosixPath
from typing import Any

import docker
from docker import errors
from docker.models.containers import Container
from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from finishline import devices
from finishline.containers.attempts import ContainerExchange, place_of
from finishline.containers.engine import ENGINE_ERRORS, LABEL, PLACE_LABEL, connect
from finishline.containers.guard import Guard
from finishline.containers.limits import Limits, format_size, parse_cpus
from finishline.containers.orphans import remove_orphans
from finishline.containers.worker import ContainerWorker, read_output
from finishline.errors import InfrastructureError, UserError
from finishline.exchange import Exchange
from finishline.executors import Worker, WorkerJob, WorkerPaths
from finishline.launch_environment import worker_command, worker_environment
from finishline.output import OutputFile

_DATA, _EXCHANGE = PurePosixPath("/data"), PurePosixPath("/exchange")
_SUBMISSION, _SCRATCH = PurePosixPath("/submission"), PurePosixPath("/tmp")
# Where the organizer is root, a user that nothing else belongs to.
_USER = (10001, 10001)
_MEMORY_SHARE = 0.75
# What an organizer sets to steer a framework; nothing else of the environment gets inside.
_PASSED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "JAX_PLATFORMS", "XLA_FLAGS")


@dataclasses.dataclass(frozen=True)
class DockerExecutor:
    """Workers are containers with no network, no rights, and nothing of the machine but their own.

    Args:
      image: name or id of the image; '' as long as it has not been made.
      limits: what each container may use.
    """

    image: str
    limits: Limits = dataclasses.field(default_factory=Limits)

    def describe(self) -> dict[str, Any]:
        """Image and limits as they were asked for."""
        return {
            "executor": "docker",
            "docker": {"image": self.image, "limits": self.limits.describe()},
        }

    def flags(self) -> dict[str, object]:
        """Image and limits as flags."""
        return {"executor": "docker", "docker_image": self.image, **self.limits.flags()}

    def count_devices(self, framework: str) -> int:
        """The GPUs that are given, or those of the machine."""
        if self.limits.gpus in (None, ("all",)):
            return devices.count_devices(framework)
        return max(1, len(self.limits.gpus))

    def cpus(self) -> frozenset[int] | None:
        """Those of the limits."""
        return frozenset(parse_cpus(self.limits.cpus)) if self.limits.cpus else None

    def check(self) -> None:
        """Checks engine, image and limits, and removes what organizers that died have left.

        Raises:
          UserError: there is no engine or image, or the machine has less than the limits.
        """
        with contextlib.closing(connect()) as client:
            info = client.info()
            for removed in remove_orphans(client):
                print(f"Removed {removed} of a run that has died.")
            if self.image:
                self._check_image(client)
            _check_memory(self.limits, info["MemTotal"])
            _check_cpus(self.limits, info["NCPU"])

    def _check_image(self, client: docker.DockerClient) -> None:
        image = _find_image(client, self.image)
        if volumes := image.attrs["Config"].get("Volumes"):
            raise UserError(
                f"The image {self.image} has the volumes {', '.join(volumes)}, which a submission "
                "could write to without a limit; build it without VOLUME."
            )

    def open_exchange(self, *, on_disk: bool = False) -> Exchange:
        """A folder in memory; ``on_disk`` makes no difference."""
        with contextlib.closing(_engine()) as client:
            size = self._memory_bytes(client) // 2
        owner = _USER if os.getuid() == 0 else (os.getuid(), os.getgid())
        return ContainerExchange(owner, size, self.limits.inodes)

    def paths(self, job: WorkerJob, exchange: Exchange) -> WorkerPaths:
        """Those within the container."""
        return WorkerPaths(
            data_dir=str(_DATA),
            exchange_dir=str(_EXCHANGE),
            submission_path=str(_inside(_SUBMISSION, job.submission_path)),
        )

    def start(self, job: WorkerJob, exchange: Exchange) -> Worker:
        """Starts a container.

        Raises:
          InfrastructureError: the engine refuses.
        """
        assert isinstance(exchange, ContainerExchange)
        client = _engine()
        guard = Guard(exchange.attempt)
        try:
            container = self._create(client, job, exchange)
            stream = container.attach(stream=True, logs=False)
            output = OutputFile(read_output(stream), job.log_path)
            container.start()
            return ContainerWorker(client, container, exchange, guard, output)
        except (UserError, *ENGINE_ERRORS) as error:
            guard.leave()
            client.close()
            raise InfrastructureError(f"No container could be started: {error!s:.500}") from error

    def _create(
        self, client: docker.DockerClient, job: WorkerJob, exchange: ContainerExchange
    ) -> Container:
        limits = self.limits
        memory = self._memory_bytes(client)
        uid, gid = exchange.owner
        tmpfs = f"rw,exec,nosuid,nodev,size={limits.scratch_bytes},nr_inodes={limits.inodes}"
        socket_path = str(_EXCHANGE / exchange.socket_path.name)
        worker = worker_command("python3", job.framework, job.num_devices, socket_path)
        return client.containers.create(
            _find_image(client, self.image).id,
            ["python3", "-m", "finishline.containers.init", *worker],
            entrypoint=[],
            name=exchange.attempt.name,
            labels={LABEL: str(exchange.attempt), PLACE_LABEL: place_of(exchange.attempt)},
            environment=self._environment(job),
            working_dir=str(_SCRATCH),
            hostname="localhost",  # the only name that can be resolved without a network
            user=f"{uid}:{gid}",
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            ipc_mode="private",
            pids_limit=limits.pids,
            mem_limit=memory,
            memswap_limit=memory,
            cpuset_cpus=limits.cpus,
            shm_size=limits.shm_bytes,
            ulimits=[
                Ulimit(name="core", soft=0, hard=0),
                Ulimit(name="fsize", soft=memory, hard=memory),
                Ulimit(name="nofile", soft=limits.open_files, hard=limits.open_files),
            ],
            tmpfs={str(_SCRATCH): f"{tmpfs},mode=0700,uid={uid},gid={gid}"},
            mounts=self._mounts(job, exchange),
            device_requests=_device_requests(limits.gpus, job.framework),
            log_config=LogConfig(type=LogConfig.types.NONE),
        )

    def _memory_bytes(self, client: docker.DockerClient) -> int:
        return self.limits.memory_bytes or int(_MEMORY_SHARE * client.info()["MemTotal"])

    def _environment(self, job: WorkerJob) -> dict[str, str]:
        cpus = self.limits.cpus
        inherited = {name: os.environ[name] for name in _PASSED if name in os.environ}
        return worker_environment(
            inherited,
            framework=job.framework,
            num_devices=job.num_devices,
            num_cores=len(parse_cpus(cpus)) if cpus else os.cpu_count() or 1,
            exchange_dir=_EXCHANGE,
            private_dir=_SCRATCH,
            submission_path=_inside(_SUBMISSION, job.submission_path),
        )

    def _mounts(self, job: WorkerJob, exchange: ContainerExchange) -> list[Mount]:
        """The training split, the submission's folder and the exchange folder; nothing else."""
        train = _DATA / job.train_dir.relative_to(job.data_dir)
        submission = job.submission_path.parent
        return [
            _bind(train, job.train_dir, read_only=True),
            _bind(_inside(_SUBMISSION, submission), submission, read_only=True),
            _bind(_EXCHANGE, exchange.path, read_only=False),
        ]


def _engine() -> docker.DockerClient:
    """The engine, which answered when the trial was planned."""
    try:
        return connect()
    except UserError as error:
        raise InfrastructureError(str(error)) from error


def _inside(root: PurePosixPath, path: Path) -> PurePosixPath:
    """A path below ``root``: submissions may import by the names of the folders around them."""
    return root / os.path.relpath(path, "/")


def _bind(target: PurePosixPath, source: Path, *, read_only: bool) -> Mount:
    return Mount(
        target=str(target),
        source=str(source.resolve()),
        type="bind",
        read_only=read_only,
        propagation="rprivate",
    )


def _device_requests(gpus: tuple[str, ...] | None, framework: str) -> list[DeviceRequest]:
    if gpus is None and devices.count_gpus(framework):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        gpus = tuple(visible.split(",")) if visible else ("all",)
    if not gpus:
        return []
    if gpus == ("all",):
        return [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    return [DeviceRequest(device_ids=list(gpus), capabilities=[["gpu"]])]


def _find_image(client: docker.DockerClient, name: str) -> Any:
    try:
        return client.images.get(name)
    except errors.ImageNotFound as error:
        raise UserError(
            f"The engine has no image {name!r} (--docker_image); build it as docker/README.md "
            "says, or pull it."
        ) from error


def _check_memory(limits: Limits, total: int) -> None:
    if limits.memory_bytes is not None and limits.memory_bytes > total:
        raise UserError(
            f"--docker_memory={limits.memory_bytes} is more than the machine's "
            f"{format_size(total)}; give less."
        )


def _check_cpus(limits: Limits, count: int) -> None:
    if limits.cpus is not None and max(parse_cpus(limits.cpus)) >= count:
        raise UserError(
            f"--docker_cpus={limits.cpus} names more than the machine's {count} processors, which "
            f"are 0-{count - 1}."
        )
