"""The flags that say where workers run, the same for all command lines that run trials.

A command line takes them in with ``flags.adopt_module_key_flags``.
"""

from typing import Any

from absl import flags

flags.DEFINE_enum(
    "executor",
    "local",
    ["local", "docker"],
    "Where the workers run: as processes of this machine, or each in a container of its own.",
)
flags.DEFINE_string(
    "docker_image", None, "Image of the workers: an id, or repository@sha256:digest."
)
flags.DEFINE_string(
    "docker_memory", None, "Memory of a container, such as 64g. Default: 3/4 of the machine's."
)
flags.DEFINE_string("docker_cpus", None, "Processors of a container, such as 0-7. Default: all.")
flags.DEFINE_integer("docker_pids", None, "Processes and threads of a container.", lower_bound=1)
flags.DEFINE_string("docker_shm_size", None, "Size of a container's /dev/shm, such as 8g.")
flags.DEFINE_string("docker_scratch_size", None, "Size of a container's /tmp, such as 8g.")
flags.DEFINE_list("docker_gpus", None, "GPUs of a container, by number or UUID. Default: all.")

NAMES = (
    "docker_image",
    "docker_memory",
    "docker_cpus",
    "docker_pids",
    "docker_shm_size",
    "docker_scratch_size",
    "docker_gpus",
)


def given() -> dict[str, Any]:
    """The values of the flags ``--docker_...`` that are set, by name."""
    values = {name: flags.FLAGS[name].value for name in NAMES}
    return {name: value for name, value in values.items() if value is not None}
