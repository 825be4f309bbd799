"""The flags of all command lines that run trials: where workers run, within which limits."""

from absl import flags

from finishline.errors import UserError
from finishline.executors import Executor, LocalExecutor

# Flags of the command line that calls ``define``, not of this module.
flags.disclaim_key_flags()

FLAGS = flags.FLAGS


def define() -> None:
    """Defines them."""
    flags.DEFINE_enum(
        "executor",
        "local",
        ["local", "docker"],
        "Where submissions run: local, as processes of this machine, or docker, in containers "
        "(docs/docker.md).",
    )
    flags.DEFINE_string(
        "docker_image", None, "Image of the containers, by id or name@digest; see docker/README.md."
    )
    flags.DEFINE_string(
        "docker_memory",
        None,
        "Memory of a container, such as 64g; no swap beyond it. Default: three quarters of the "
        "machine's.",
    )
    flags.DEFINE_string("docker_cpus", None, "Its processors, such as 0-3,8. Default: all.")
    flags.DEFINE_integer("docker_pids", None, "Its processes and threads. Default: 4096.")
    flags.DEFINE_string("docker_shm_size", None, "Its shared memory, /dev/shm. Default: 4g.")
    flags.DEFINE_string(
        "docker_scratch_size", None, "Its /tmp, with home folder and caches. Default: 8g."
    )
    flags.DEFINE_list(
        "docker_gpus", None, "Its GPUs, by number or UUID, or none. Default: those of the machine."
    )


def executor(*, image: str | None = None) -> Executor:
    """What the flags describe.

    Args:
      image: stands for ``--docker_image`` where that is not given.

    Raises:
      UserError: a value cannot be, or a flag of containers is given without them.
    """
    given = [flag.name for flag in _docker_flags() if flag.value is not None]
    if FLAGS.executor == "local":
        if given:
            raise UserError(f"--{given[0]} is for containers; give --executor=docker with it.")
        return LocalExecutor()
    try:
        from finishline.containers.executor import DockerExecutor
        from finishline.containers.limits import Limits
    except ModuleNotFoundError as error:
        raise UserError(
            f"--executor=docker needs the package {error.name!r}, which is not installed; run "
            "`pip install -c constraints.txt -e '.[docker]'`."
        ) from error
    image = FLAGS.docker_image if image is None else image
    if image is None:
        raise UserError(
            "--executor=docker needs an image; give --docker_image, or use docker/score.py."
        )
    limits = Limits.parse(
        memory=FLAGS.docker_memory,
        cpus=FLAGS.docker_cpus,
        pids=FLAGS.docker_pids,
        shm_size=FLAGS.docker_shm_size,
        scratch_size=FLAGS.docker_scratch_size,
        gpus=[] if FLAGS.docker_gpus == ["none"] else FLAGS.docker_gpus,
    )
    return DockerExecutor(image, limits)


def arguments() -> dict[str, object]:
    """The flags that were given, by name, to pass them on to another command line."""
    values = {flag.name: flag.value for flag in _docker_flags() if flag.value is not None}
    return {"executor": FLAGS.executor, **values}


def _docker_flags() -> list[flags.Flag]:
    return [FLAGS[name] for name in FLAGS if name.startswith("docker_")]
