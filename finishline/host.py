"""The machine: what it is, and the state in which it is before and after a trial.

All of it is read from ``/proc``, ``/sys`` and ``nvidia-smi``. What cannot be read is None: a record
that lacks something must not cost a trial.
"""

import contextlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from finishline.nvidia import read_gpus
from finishline.records import LOG_FIELDS, Event, attempt
from finishline.sandbox import landlock_version

WINDOW_SEC = 0.2  # over which the processors' use is measured
_MAX_PROCESSES = 5
_MIN_CORES = 0.1  # what a process must use to be named: two of the kernel's ticks in the window
_CPUS = Path("/sys/devices/system/cpu")
_NODES = Path("/sys/devices/system/node")
_ZONES = Path("/sys/class/thermal")
# Time by state in /proc/stat, in this order; guest time is in user and nice already.
_CPU_STATES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_IDLE_STATES = ("idle", "iowait")
# Where control groups tell how often their quota has held them up: version 2, then 1.
_CGROUP_STATS = (Path("/sys/fs/cgroup/cpu.stat"), Path("/sys/fs/cgroup/cpu/cpu.stat"))

Fields = dict[str, Any]


def describe_machine() -> Fields:
    """Host, processor, cores, memory, GPUs and what the kernel protects."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": _gpu_models(),
        "landlock": landlock_version(),
    }


def read_host() -> Fields:
    """The state of host and GPUs now; takes 0.2 s, and 0.1 to 2 s more where there are GPUs."""
    return {
        "use": _or_none(_read_use),
        "load_average": _or_none(lambda: list(os.getloadavg())),
        "cpu_pressure_percent": _or_none(_read_pressure),
        "memory": _or_none(_read_memory),
        "frequency": _or_none(_read_frequency),
        "throttle_counts": _or_none(_read_throttling),
        "quota": _or_none(_read_quota),
        "temperatures_c": _or_none(_read_temperatures),
        "affinity": _or_none(lambda: ranges(os.sched_getaffinity(0))),
        "numa_nodes": _or_none(_read_nodes),
        "kernel": platform.release(),
        "boot_id": _or_none(lambda: _read("/proc/sys/kernel/random/boot_id")),
        "cpu_seconds": _or_none(_read_cpu_seconds),
        "gpus": _or_none(read_gpus),
    }


def changes(before: Fields, after: Fields) -> Fields:
    """What happened to the machine between two readings of ``read_host``.

    Returns:
      ``busy_share`` and ``steal_share`` of the processors' time (steal: what the hypervisor gave to
      others), ``throttle_counts`` and ``quota`` as differences; None where that is not known.
    """
    spent = _difference(before["cpu_seconds"], after["cpu_seconds"])
    total = sum(spent.values()) if spent else 0.0
    idle = sum(spent[state] for state in _IDLE_STATES) if spent else 0.0
    return {
        "busy_share": 1 - idle / total if spent and total else None,
        "steal_share": spent["steal"] / total if spent and total else None,
        "throttle_counts": _difference(before["throttle_counts"], after["throttle_counts"]),
        "quota": _difference(before["quota"], after["quota"]),
    }


def surroundings(events: Sequence[Event]) -> Fields:
    """The parts ``host``, ``calibration`` and ``worker`` of ``meta.json``, if the log has them.

    Of several processes that have worked at a trial the last counts, except that calibrations are
    compared with the first.
    """
    parts: dict[str, Fields] = {}
    for event in attempt(events):
        kind, when = event["event"], str(event.get("when"))
        part = parts.get(kind, {})
        is_repeated = kind == "calibration" and when == "before" and when in part
        if kind in ("host", "calibration", "worker") and not is_repeated:
            content = {k: v for k, v in event.items() if k not in (*LOG_FIELDS, "when")}
            parts[kind] = {**part, when: content}
    host = parts.get("host", {})
    if {"before", "after"} <= host.keys():
        host["changes"] = changes(host["before"], host["after"])
    return parts


def ranges(numbers: set[int]) -> str:
    """Numbers as the kernel lists processors: ``0-3,8``."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)


def _or_none(read: Callable[[], Any]) -> Any:
    # /proc and /sys differ between kernels and containers in more ways than could be listed.
    with contextlib.suppress(Exception):
        return read()
    return None


def _read(path: Path | str) -> str:
    return Path(path).read_text().strip()


def _difference(before: Fields | None, after: Fields | None) -> Fields | None:
    if before is None or after is None:
        return None
    return {name: value - before[name] for name, value in after.items() if name in before}


# -------------------------------------------------------------------------------- processors


def _read_use() -> Fields:
    """How many cores are busy, without this process and the children it has waited for."""
    processes_before = _read_processes()
    own_before, all_before, started = sum(os.times()[:4]), _read_cpu_seconds(), time.monotonic()
    time.sleep(WINDOW_SEC)
    spent = _difference(all_before, _read_cpu_seconds())
    own, seconds = sum(os.times()[:4]) - own_before, time.monotonic() - started
    processes = _read_processes()
    assert spent is not None
    busy = sum(value for state, value in spent.items() if state not in _IDLE_STATES)
    others = (busy - own) / seconds
    used = {
        key: (ticks - processes_before.get(key, ticks)) / os.sysconf("SC_CLK_TCK") / seconds
        for key, ticks in processes.items()
        if key[0] != os.getpid()
    }
    named = sorted(used, key=lambda key: -used[key])[:_MAX_PROCESSES]
    return {
        "others_busy_cores": max(0.0, round(others, 2)),
        "cores": os.cpu_count(),
        "processes": [
            {"pid": pid, "name": name, "cores": round(used[pid, name], 2)}
            for pid, name in named
            if used[pid, name] >= _MIN_CORES
        ],
    }


def _read_processes() -> dict[tuple[int, str], int]:
    """Ticks of processor time by process id and name."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError, ValueError):  # it may end while it is looked at
                pid, ticks, name = parse_stat(_read(folder / "stat"))
                found[pid, name] = ticks
    return found


def parse_stat(text: str) -> tuple[int, int, str]:
    """Process id, ticks of processor time and name from a process's ``stat`` file."""
    # The name may hold spaces and brackets.
    opening, closing = text.index("("), text.rindex(")")
    fields = text[closing + 2 :].split()
    return int(text[:opening]), int(fields[11]) + int(fields[12]), text[opening + 1 : closing]


def _read_cpu_seconds() -> dict[str, float]:
    values = _read("/proc/stat").split("\n", 1)[0].split()[1:]
    ticks = os.sysconf("SC_CLK_TCK")
    return {name: int(value) / ticks for name, value in zip(_CPU_STATES, values, strict=False)}


def _read_pressure() -> float:
    """Percent of the last 10 s in which something waited for a processor."""
    return float(_read("/proc/pressure/cpu").split("avg10=", 1)[1].split()[0])


def _read_frequency() -> Fields:
    folders = sorted(_CPUS.glob("cpu[0-9]*/cpufreq"))
    current = [int(_read(folder / "scaling_cur_freq")) / 1000 for folder in folders]
    if not current:  # a virtual machine; its kernel knows one figure at most
        lines = _read("/proc/cpuinfo").splitlines()
        current = [float(line.split(":")[1]) for line in lines if line.startswith("cpu MHz")]
    return {
        "governors": sorted({_read(folder / "scaling_governor") for folder in folders}) or None,
        "min_mhz": min(current, default=None),
        "max_mhz": max(current, default=None),
        "limit_mhz": int(_read(folders[0] / "cpuinfo_max_freq")) / 1000 if folders else None,
    }


def _read_throttling() -> Fields | None:
    """How often the processors have been slowed down for their heat, since the start."""
    counts = {
        name: sum(int(_read(path)) for path in _CPUS.glob(f"cpu[0-9]*/thermal_throttle/{name}"))
        for name in ("core_throttle_count", "package_throttle_count")
    }
    return counts if any(_CPUS.glob("cpu[0-9]*/thermal_throttle")) else None


def _read_quota() -> Fields | None:
    """How often this control group's quota of processor time has held it up."""
    path = next((path for path in _CGROUP_STATS if path.exists()), None)
    if path is None:
        return None
    values = dict(line.split() for line in _read(path).splitlines())
    return {name: int(values[name]) for name in ("nr_periods", "nr_throttled") if name in values}


def _read_temperatures() -> Fields | None:
    zones = {
        f"{_read(zone / 'type')} ({zone.name})": int(_read(zone / "temp")) / 1000
        for zone in sorted(_ZONES.glob("thermal_zone*"))
    }
    return zones or None


# -------------------------------------------------------------------------------- the rest


def _read_memory() -> Fields:
    lines = (line.split() for line in _read("/proc/meminfo").splitlines())
    values = {name.rstrip(":"): int(number) * 1024 for name, number, *_ in lines}
    return {
        "total_bytes": values["MemTotal"],
        "available_bytes": values["MemAvailable"],
        "swap_used_bytes": values["SwapTotal"] - values["SwapFree"],
    }


def _read_nodes() -> Fields:
    return {path.name: _read(path / "cpulist") for path in sorted(_NODES.glob("node[0-9]*"))}


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in _read("/proc/cpuinfo").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _gpu_models() -> list[str]:
    folder = Path("/proc/driver/nvidia/gpus")
    if not folder.is_dir():
        return []
    return [
        line.split(":", 1)[1].strip()
        for gpu in sorted(folder.iterdir())
        for line in (gpu / "information").read_text().splitlines()
        if line.startswith("Model:")
    ]
