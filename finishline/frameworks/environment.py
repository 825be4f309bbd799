"""Settings that must be in the environment before a framework is imported."""

import os
from collections.abc import MutableMapping


def prepare_environment(
    framework: str, num_devices: int = 1, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Sets what referee and worker need to share a machine.

    Args:
      framework: 'jax' or 'pytorch'.
      num_devices: devices that this process uses.
      environment: what to change.
    """
    if framework == "pytorch":
        # By default OpenMP threads spin for milliseconds at a barrier; with anything else running
        # on the machine, a step of a small model then takes ten times as long.
        environment.setdefault("GOMP_SPINCOUNT", "20000")
        # NCCL's monitor takes eight minutes without a sign of the watchdog for a hang and aborts
        # the process, which may only have been frozen for an evaluation. The watchdog itself goes
        # by the timeout of the process group.
        environment["TORCH_NCCL_ENABLE_MONITORING"] = "0"
        return
    # On the CPU, XLA calls BLAS for decompositions from threads of its own; BLAS with as many more
    # in each takes five times as long.
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Two processes use the GPU: neither may take all of its memory.
    environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    flag = "--xla_force_host_platform_device_count"
    if num_devices > 1 and flag not in environment.get("XLA_FLAGS", ""):
        environment["XLA_FLAGS"] = (
            f"{environment.get('XLA_FLAGS', '')} {flag}={num_devices}".strip()
        )
