"""How many devices a trial gets by default; found out without importing a framework."""

import importlib.util
import os
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path

_GPUS = Path("/proc/driver/nvidia/gpus")
_JAX_PLUGINS = ("jax_cuda12_plugin", "jax_cuda13_plugin")


def count_devices(framework: str, environment: Mapping[str, str] = os.environ) -> int:
    """The GPUs that the installed ``framework`` can use, or 1 for the CPU."""
    return max(1, count_gpus(framework, environment))


def count_gpus(framework: str, environment: Mapping[str, str] = os.environ) -> int:
    """The GPUs that the installed ``framework`` can use."""
    present = len(list(_GPUS.iterdir())) if _GPUS.is_dir() else 0
    if not present or not _SEES_GPUS[framework](environment):
        return 0
    return _num_visible(present, environment.get("CUDA_VISIBLE_DEVICES"))


def _num_visible(present: int, listed: str | None) -> int:
    """What CUDA makes of CUDA_VISIBLE_DEVICES: it stops at the first entry that is no device."""
    if listed is None:
        return present
    count = 0
    for entry in map(str.strip, listed.split(",")):
        is_number = entry.isdecimal() and int(entry) < present
        if not is_number and not entry.startswith(("GPU-", "MIG-")):
            break
        count += 1
    return count


def _pytorch_sees_gpus(environment: Mapping[str, str]) -> bool:
    """Whether PyTorch was built with CUDA, which a small file beside it says."""
    del environment
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return False
    return runpy.run_path(str(Path(found.origin).with_name("version.py"))).get("cuda") is not None


def _jax_sees_gpus(environment: Mapping[str, str]) -> bool:
    """Whether JAX's plugin for CUDA is installed and not switched off."""
    platforms = environment.get("JAX_PLATFORMS", "cuda")
    is_on = not {"cuda", "gpu"}.isdisjoint(platforms.split(",")) or not platforms
    return is_on and any(importlib.util.find_spec(name) for name in _JAX_PLUGINS)


_SEES_GPUS: dict[str, Callable[[Mapping[str, str]], bool]] = {
    "jax": _jax_sees_gpus,
    "pytorch": _pytorch_sees_gpus,
}
