"""The state of NVIDIA GPUs, by ``nvidia-smi``; whatever it cannot tell is None."""

import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TIMEOUT = 10.0  # seconds; a broken driver answers never
_INVALID_FIELD = re.compile(r'Field "([^"]+)" is not a valid field to query')

# Bits of the active reasons; https://docs.nvidia.com/deploy/nvml-api, nvmlClocksEventReasons.
_THROTTLE_REASONS = {
    0x001: "gpu_idle",
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}

Fields = dict[str, Any]


def _number(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        return float(text)
    return None  # [N/A], [Not Supported], [Unknown Error], [Insufficient Permissions], ...


def _text(text: str) -> str | None:
    return None if not text or text.startswith("[") or text == "N/A" else text


def _reasons(text: str) -> list[str] | None:
    try:
        mask = int(text, 16)
    except ValueError:
        return None
    known = [name for bit, name in _THROTTLE_REASONS.items() if mask & bit]
    unknown = mask & ~sum(_THROTTLE_REASONS)
    return [*known, hex(unknown)] if unknown else known


# Field of ``nvidia-smi --help-query-gpu`` -> (our name, how to read it). The name, which alone
# might hold a comma, comes last.
GPU_FIELDS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "index": ("index", _number),
    "uuid": ("uuid", _text),
    "driver_version": ("driver", _text),
    "pstate": ("performance_state", _text),
    "clocks.current.sm": ("sm_clock_mhz", _number),
    "clocks.current.memory": ("memory_clock_mhz", _number),
    "clocks.max.sm": ("max_sm_clock_mhz", _number),
    "clocks.max.memory": ("max_memory_clock_mhz", _number),
    "clocks.applications.graphics": ("application_graphics_clock_mhz", _number),
    "clocks.applications.memory": ("application_memory_clock_mhz", _number),
    "temperature.gpu": ("temperature_c", _number),
    "power.draw": ("power_w", _number),
    "power.limit": ("power_limit_w", _number),
    # Drivers from 535 on say clocks_event_reasons and still understand the older name.
    "clocks_throttle_reasons.active": ("throttle_reasons", _reasons),
    # Microseconds since the driver was loaded; drivers from about 590 on.
    "clocks_event_reasons_counters.sw_power_cap": ("power_cap_us", _number),
    "clocks_event_reasons_counters.sw_thermal_slowdown": ("sw_thermal_us", _number),
    "clocks_event_reasons_counters.hw_thermal_slowdown": ("hw_thermal_us", _number),
    "memory.used": ("memory_used_mib", _number),
    "memory.total": ("memory_total_mib", _number),
    "utilization.gpu": ("utilization_percent", _number),
    "name": ("name", _text),
}
# If a driver drops the old name.
_OTHER_NAMES = {"clocks_throttle_reasons.active": "clocks_event_reasons.active"}
_PROCESS_FIELDS = ("gpu_uuid", "pid", "used_gpu_memory", "process_name")


def read_gpus() -> list[Fields] | None:
    """The state of each GPU, with the compute processes that are not this one.

    None if there is no ``nvidia-smi`` or it fails. Takes 0.1 to 2 s where there is one.
    """
    answer = _ask(list(GPU_FIELDS))
    if answer is None:
        return None
    gpus = parse_gpus(answer[1], answer[0])
    processes = _run(f"--query-compute-apps={','.join(_PROCESS_FIELDS)}")
    own = os.getpid()
    by_uuid = None if processes is None else parse_processes(processes, exclude=own)
    for gpu in gpus:
        gpu["processes"] = None if by_uuid is None else by_uuid.get(gpu["uuid"], [])
    return gpus


def parse_gpus(text: str, fields: Sequence[str]) -> list[Fields]:
    """The lines of ``nvidia-smi --query-gpu=<fields> --format=csv,noheader,nounits``.

    Args:
      text: the lines, with ``, `` between the values.
      fields: what was asked for; those of ``GPU_FIELDS`` that are missing become None.
    """
    gpus = []
    for line in filter(None, map(str.strip, text.splitlines())):
        values = [value.strip() for value in line.split(",", len(fields) - 1)]
        gpu: Fields = {name: None for name, _ in GPU_FIELDS.values()}
        for field, value in zip(fields, values, strict=False):
            name, read = GPU_FIELDS[field]
            gpu[name] = read(value)
        gpus.append(gpu)
    return gpus


def parse_processes(text: str, *, exclude: int) -> dict[str, list[Fields]]:
    """The lines of ``nvidia-smi --query-compute-apps=gpu_uuid,pid,used_gpu_memory,process_name``.

    Args:
      text: the lines.
      exclude: a process id to leave out.

    Returns:
      By GPU, the ``pid``, ``memory_mib`` and ``name`` of each process.
    """
    found: dict[str, list[Fields]] = {}
    for line in text.splitlines():
        values = [value.strip() for value in line.split(",", len(_PROCESS_FIELDS) - 1)]
        if len(values) < len(_PROCESS_FIELDS) or _number(values[1]) in (None, exclude):
            continue
        uuid, pid, memory, name = values
        process = {"pid": int(pid), "memory_mib": _number(memory), "name": _text(name)}
        found.setdefault(uuid, []).append(process)
    return found


def _ask(fields: list[str]) -> tuple[list[str], str] | None:
    """(fields, lines) of all GPUs, without the fields that this ``nvidia-smi`` does not know."""
    asked = {field: field for field in fields}
    for _ in range(2 * len(fields)):
        output = _run(f"--query-gpu={','.join(asked.values())}", check=False)
        if output is None:
            return None
        unknown = _INVALID_FIELD.search(output)
        if unknown is None:
            return list(asked), output
        field = next((ours for ours, name in asked.items() if name == unknown[1]), None)
        if field is None:
            return None
        other = _OTHER_NAMES.get(field)
        if other is None or asked[field] == other:
            del asked[field]
        else:
            asked[field] = other
    return None


def _run(query: str, *, check: bool = True) -> str | None:
    """What ``nvidia-smi`` answers; None if it is not there, hangs or fails.

    Args:
      query: the option.
      check: whether an exit code other than 0 is a failure; else it is one unless the answer names
        an unknown field.
    """
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    output = done.stdout + done.stderr if done.returncode else done.stdout
    if done.returncode and (check or not _INVALID_FIELD.search(output)):
        return None
    return output
