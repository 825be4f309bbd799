"""The worker's command and environment, the same on this machine and in a container."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePath

from finishline.frameworks.environment import prepare_environment

# Compiled code and whatever else one trial keeps must not help the next.
PRIVATE_FOLDERS = (
    "HOME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "CUDA_CACHE_PATH",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
)
# Left by a torchrun around the referee; the worker's own torchrun sets them anew.
_OUTER_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def worker_command(python: str, framework: str, num_devices: int, socket_path: str) -> list[str]:
    """The command that starts a worker with the interpreter ``python``."""
    command = [python]
    if framework == "pytorch" and num_devices > 1:
        command += ["-m", "finishline.frameworks.pytorch.launch", "--standalone"]
        command += ["--max-restarts=0", f"--nproc_per_node={num_devices}"]
    return [*command, "-m", "finishline.worker", socket_path, framework]


def worker_environment(
    inherited: Mapping[str, str],
    *,
    framework: str,
    num_devices: int,
    num_cores: int,
    exchange_dir: PurePath,
    private_dir: PurePath,
    submission_path: PurePath,
) -> dict[str, str]:
    """The environment of a worker.

    Args:
      inherited: what it starts from.
      framework: 'jax' or 'pytorch'.
      num_devices: devices to train on.
      num_cores: processors for all its processes.
      exchange_dir: the exchange folder, as the worker sees it.
      private_dir: where its ``PRIVATE_FOLDERS`` lie, which are not made here.
      submission_path: the submission's file, as the worker sees it.
    """
    environment = {
        **inherited,
        "PYTHONUNBUFFERED": "1",
        # Off the clock only the harness is imported, not what lies in the current folder.
        "PYTHONSAFEPATH": "1",
        "FINISHLINE_EXCHANGE_DIR": str(exchange_dir),
        "FINISHLINE_SUBMISSION": str(submission_path),
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        **{name: str(private_dir / name.lower()) for name in PRIVATE_FOLDERS},
    }
    prepare_environment(framework, num_devices, environment)
    for name in _OUTER_RANKS:
        environment.pop(name, None)
    if framework == "pytorch" and num_devices > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, num_cores // num_devices)))
    return environment


def search_path() -> str:
    """PYTHONPATH of this process, with the harness first."""
    root = str(Path(__file__).resolve().parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    return os.pathsep.join([root, inherited] if inherited else [root])
