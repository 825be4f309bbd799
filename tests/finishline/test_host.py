"""The host record: what nvidia-smi and the kernel say, and what they cannot say."""

import os
import stat

import pytest

from finishline import host, nvidia
from finishline.host import changes, parse_stat, ranges, read_host, surroundings

# In the formats of drivers 470 and 590: fields in the order of GPU_FIELDS.
OLD_GPU = (
    "0, GPU-5a1b2c3d-0000-1111-2222-333344445555, 470.82.01, P0, 1530, 877, 1530, 877, 1312, 877, "
    "61, 287.45, 300.00, 0x0000000000000004, 30512, 32510, 99, Tesla V100-SXM2-32GB"
)
NEW_GPUS = """\
0, GPU-aaaa, 590.48.01, P0, 1980, 2619, 1980, 2619, [Requested functionality has been deprecated], \
[Requested functionality has been deprecated], 71, 698.20, 700.00, 0x0000000000000064, 1830042, \
0, 15, 80123, 81559, 100, NVIDIA H100 80GB HBM3
1, GPU-bbbb, 590.48.01, P8, [N/A], [N/A], 1980, 2619, [N/A], [N/A], 28, [Unknown Error], 700.00, \
0x0000000000000001, 0, 0, 0, 4, 81559, 0, NVIDIA H100 80GB HBM3
"""
PROCESSES = """\
GPU-aaaa, 4711, 78012, /usr/bin/python3 --name a,b
GPU-aaaa, 4712, [N/A], [Not Found]
GPU-bbbb, 99, 300, /opt/mine
"""
COUNTERS = [field for field in nvidia.GPU_FIELDS if "counters" in field]


def test_the_lines_of_an_old_driver_are_read():
    fields = [field for field in nvidia.GPU_FIELDS if field not in COUNTERS]
    (gpu,) = nvidia.parse_gpus(OLD_GPU, fields)
    assert gpu["name"] == "Tesla V100-SXM2-32GB"
    assert gpu["driver"] == "470.82.01"
    assert (gpu["sm_clock_mhz"], gpu["application_graphics_clock_mhz"]) == (1530, 1312)
    assert (gpu["temperature_c"], gpu["power_w"]) == (61, 287.45)
    assert gpu["throttle_reasons"] == ["sw_power_cap"]
    assert gpu["memory_used_mib"] == 30512
    assert gpu["sw_thermal_us"] is None  # not asked for


def test_the_lines_of_a_new_driver_are_read():
    busy, idle = nvidia.parse_gpus(NEW_GPUS, list(nvidia.GPU_FIELDS))
    assert busy["throttle_reasons"] == [
        "sw_power_cap",
        "sw_thermal_slowdown",
        "hw_thermal_slowdown",
    ]
    assert busy["application_graphics_clock_mhz"] is None
    assert (busy["power_cap_us"], busy["hw_thermal_us"]) == (1830042, 15)
    assert idle["throttle_reasons"] == ["gpu_idle"]
    assert idle["sm_clock_mhz"] is None
    assert idle["power_w"] is None
    assert idle["max_sm_clock_mhz"] == 1980


@pytest.mark.parametrize("text", ["", "\n", "No devices were found", "0, GPU-a", "garbage,,,\n,"])
def test_lines_in_no_known_format_are_no_failure(text):
    for gpu in nvidia.parse_gpus(text, list(nvidia.GPU_FIELDS)):
        assert gpu["temperature_c"] is None


def test_an_unknown_throttle_reason_is_kept_as_its_bit():
    (gpu,) = nvidia.parse_gpus("0x0000000000001002", ["clocks_throttle_reasons.active"])
    assert gpu["throttle_reasons"] == ["applications_clocks_setting", "0x1000"]


def test_compute_processes_are_read_but_for_our_own():
    by_gpu = nvidia.parse_processes(PROCESSES, exclude=99)
    assert by_gpu == {
        "GPU-aaaa": [
            {"pid": 4711, "memory_mib": 78012.0, "name": "/usr/bin/python3 --name a,b"},
            {"pid": 4712, "memory_mib": None, "name": None},
        ]
    }


@pytest.fixture
def install_nvidia_smi(tmp_path, monkeypatch):
    """A function that puts a shell script in the place of ``nvidia-smi``."""

    def install(script: str) -> None:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


UNKNOWN = 'echo "Field \\"{0}\\" is not a valid field to query."; exit 2'


def test_fields_that_a_driver_does_not_know_are_left_out(install_nvidia_smi):
    old, new = "clocks_throttle_reasons.active", "clocks_event_reasons.active"
    rejected = [old, *COUNTERS]
    cases = "\n".join(f"*{field}*) {UNKNOWN.format(field)};;" for field in rejected)
    process = "GPU-5a1b2c3d-0000-1111-2222-333344445555, 7, 12, x"
    install_nvidia_smi(
        f"case $1 in\n*compute-apps*) echo '{process}';;\n"
        f"{cases}\n*{new}*) echo '{OLD_GPU}';;\nesac"
    )
    (gpu,) = nvidia.read_gpus()
    assert gpu["throttle_reasons"] == ["sw_power_cap"]
    assert gpu["name"] == "Tesla V100-SXM2-32GB"
    assert gpu["power_cap_us"] is None
    assert gpu["processes"] == [{"pid": 7, "memory_mib": 12.0, "name": "x"}]


@pytest.mark.parametrize(
    "script",
    [
        "echo 'NVIDIA-SMI has failed because it could not communicate with the driver.'; exit 9",
        UNKNOWN.format("a field that nobody asked for"),
        "kill -9 $$",
        "printf '\\377\\376'",
        "exec sleep 5",
    ],
)
def test_a_broken_nvidia_smi_is_no_failure(install_nvidia_smi, monkeypatch, script):
    monkeypatch.setattr(nvidia, "_TIMEOUT", 0.3)
    install_nvidia_smi(script)
    assert not nvidia.read_gpus()


def test_the_state_of_this_machine_can_be_read():
    before, after = read_host(), read_host()
    assert before["memory"]["available_bytes"] < before["memory"]["total_bytes"]
    assert before["use"]["others_busy_cores"] <= before["use"]["cores"] * 1.5
    assert before["affinity"] == ranges(os.sched_getaffinity(0))
    assert before["kernel"] == os.uname().release
    spent = changes(before, after)
    assert 0 <= spent["busy_share"] <= 1
    assert 0 <= spent["steal_share"] <= 1


def test_what_cannot_be_read_is_null(monkeypatch):
    def fail(path):
        raise PermissionError(13, "not in this container", str(path))

    monkeypatch.setattr(host, "_read", fail)
    state = read_host()
    assert state["memory"] is state["numa_nodes"] is state["cpu_seconds"] is state["use"] is None
    assert state["kernel"]
    assert changes(state, state)["busy_share"] is None


def test_names_of_processes_may_hold_anything():
    times = "S 1 2 3 4 -1 5 6 7 8 9 250 50 0 0 20 0 1"
    assert parse_stat(f"42 (tmux: (a) b) {times}") == (42, 300, "tmux: (a) b")


@pytest.mark.parametrize(
    ("numbers", "text"), [(set(), ""), ({3}, "3"), ({0, 1, 2, 8, 10, 11}, "0-2,8,10-11")]
)
def test_processors_are_listed_as_the_kernel_does(numbers, text):
    assert ranges(numbers) == text


def state(idle: float, steal: float, throttled: int) -> dict:
    return {
        "cpu_seconds": {"user": 10.0 + idle, "idle": idle, "iowait": 0.0, "steal": steal},
        "throttle_counts": {"core_throttle_count": throttled},
        "quota": None,
    }


def test_changes_are_differences():
    found = changes(state(10.0, 1.0, 5), state(14.0, 3.0, 9))
    assert found["busy_share"] == pytest.approx(0.6)
    assert found["steal_share"] == pytest.approx(0.2)
    assert found["throttle_counts"] == {"core_throttle_count": 4}
    assert found["quota"] is None


def test_the_parts_of_the_record_come_from_the_attempt_that_counts():
    def host_event(when, **values):
        return {"index": 1, "event": "host", "when": when, **state(10.0, 1.0, 5), **values}

    events = [
        {"event": "trial_started"},
        {"event": "calibration", "when": "before", "attempts": [1]},
        {"event": "trial_ended", "discarded": True},
        host_event("before", kernel="first"),
        {"event": "calibration", "when": "before", "attempts": [2]},
        {"event": "resumed"},
        host_event("before", kernel="second"),
        {"event": "calibration", "when": "before", "attempts": [3]},
        host_event("after"),
        {"event": "calibration", "when": "after", "attempts": [4]},
    ]
    parts = surroundings(events)
    assert parts["calibration"] == {"before": {"attempts": [2]}, "after": {"attempts": [4]}}
    assert parts["host"]["before"]["kernel"] == "second"
    assert parts["host"]["changes"]["throttle_counts"] == {"core_throttle_count": 0}
    assert not {"index", "event", "when"} & parts["host"]["before"].keys()
    assert surroundings(events[:3]) == {}
