"""Whether the machine is as fast after a trial as it was before: calibration runs and drift.

A time is worth something only if the machine kept its speed. So a fixed piece of work is timed
before the worker starts and after it has ended, outside of the submission's clock
(``finishline.calibration_work``). Drift is what the second takes over the first, minus 1.

As a program it tells how far calibrations differ on this machine with nothing in between: what
``--max_drift`` cannot go below.

Example:
  python -m finishline.calibration --pairs=20
"""

import dataclasses
import enum
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from finishline import commandline
from finishline.devices import count_devices, count_gpus
from finishline.errors import InfrastructureError
from finishline.frameworks import FRAMEWORKS
from finishline.frameworks.environment import prepare_environment

DEFAULT_MAX_DRIFT = 0.01
# A disturbance that passes says nothing of the trial: what looks wrong is measured again.
_MAX_ATTEMPTS = 3
_TIMEOUT = 300.0
_ROOT = Path(__file__).resolve().parent.parent

# By device, 'cpu' or 'gpu<i>': what ``calibration_work.time_parts`` returns.
Calibration = dict[str, dict[str, float]]
Measure = Callable[[], Calibration]


class OnDrift(enum.StrEnum):
    """What becomes of a trial whose machine has drifted."""

    OFF = "off"
    WARN = "warn"
    FAIL = "fail"


@dataclasses.dataclass(frozen=True)
class Drift:
    """How much slower the machine is than before.

    Attributes:
      device: the device that has drifted most.
      share: of its time for the fixed work: 0.02 is 2 % slower, -0.02 as much quicker.
      noise: standard error of ``share``, by the spread within the two calibrations.
      parts: the same as ``share`` for each kind of work and device.
    """

    device: str
    share: float
    noise: float
    parts: dict[str, float]

    def describe(self) -> str:
        """In words."""
        details = f"standard error {self.noise:.1%}"
        if self.device == "cpu":  # what other processes took is not in it
            details += f", by processor time {_slower(self.parts['cpu/cpu_seconds'])}"
        return (
            f"the fixed work on its {self.device} ran {_slower(self.share)} after the trial than "
            f"before it ({details})"
        )


def calibrate(
    framework: str, num_devices: int, *, cpus: frozenset[int] | None = None
) -> Calibration:
    """Times the fixed work once, in a new process; about 1 s, and 5 to 10 s where there are GPUs.

    Args:
      framework: 'jax' or 'pytorch'; works on the GPUs, where it can use any.
      num_devices: how many of them.
      cpus: the processors to work on; None is those of this process.

    Raises:
      InfrastructureError: it failed.
    """
    job = {
        "framework": framework,
        "num_gpus": min(num_devices, count_gpus(framework)),
        "cpus": sorted(cpus) if cpus else None,
    }
    path = filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}
    prepare_environment(framework, environment=environment)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "finishline.calibration_work", json.dumps(job)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=_TIMEOUT,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the other
            check=True,
        )
        measured: Calibration = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        told = error.stderr.decode(errors="replace").strip()[-300:]
        raise InfrastructureError(f"The calibration of the machine failed: {told}") from error
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InfrastructureError(f"The calibration of the machine failed: {error}") from error
    return measured


def calibrate_before(measure: Measure, max_drift: float) -> list[Calibration]:
    """Measures until a calibration is less noisy than ``max_drift``, at most three times."""
    return _attempts(measure, lambda one: _noise(one) <= max_drift)


def calibrate_after(measure: Measure, before: Calibration, max_drift: float) -> list[Calibration]:
    """Measures until the drift is at most ``max_drift``, at most three times."""
    return _attempts(measure, lambda one: abs(drift_between(before, one).share) <= max_drift)


def _attempts(measure: Measure, is_good: Callable[[Calibration], bool]) -> list[Calibration]:
    attempts = [measure()]
    while not is_good(attempts[-1]) and len(attempts) < _MAX_ATTEMPTS:
        attempts.append(measure())
    return attempts


def _noise(calibration: Calibration) -> float:
    return max(device["noise"] for device in calibration.values())


def least_noisy(attempts: Sequence[Calibration]) -> Calibration:
    """The calibration to compare later ones with."""
    return min(attempts, key=_noise)


def least_drift(before: Calibration, attempts: Sequence[Calibration]) -> Drift:
    """The smallest drift of several calibrations: what passes is no drift."""
    drifts = [drift_between(before, after) for after in attempts]
    return min(drifts, key=lambda drift: abs(drift.share))


def drift_between(before: Calibration, after: Calibration) -> Drift:
    """The drift of the device that has drifted most."""
    shared = [device for device in before if device in after]
    shares = {device: _share(before, after, device, "seconds") for device in shared}
    device = max(shared, key=lambda name: abs(shares[name]))
    noise = (before[device]["noise"] ** 2 + after[device]["noise"] ** 2) ** 0.5
    parts = {
        f"{name}/{part}": _share(before, after, name, part)
        for name in shared
        for part in before[name]
        if part not in ("noise", "repeats") and part in after[name]
    }
    return Drift(device, shares[device], noise, parts)


def _share(before: Calibration, after: Calibration, device: str, part: str) -> float:
    return after[device][part] / before[device][part] - 1


def _slower(share: float) -> str:
    return f"{abs(share):.1%} {'slower' if share > 0 else 'quicker'}"


def main(argv: list[str]) -> int:
    """Measures pairs of calibrations and prints how far they differ; returns 0."""
    del argv
    values = flags.FLAGS
    num_devices = count_devices(values.framework)
    shares, noises, seconds = [], [], []
    for number in range(1, values.pairs + 1):
        started = time.monotonic()
        before = calibrate(values.framework, num_devices)
        seconds.append(time.monotonic() - started)
        drift = drift_between(before, calibrate(values.framework, num_devices))
        shares.append(drift.share)
        noises.append(drift.noise)
        print(f"pair {number}: {drift.share:+.2%} ({drift.device})", flush=True)
    sizes = sorted(map(abs, shares))
    print(
        f"A calibration takes {statistics.median(seconds):.2f} s. Of {len(sizes)} pairs with "
        f"nothing in between, the median drift is {statistics.median(sizes):.2%}, the 90th "
        f"percentile {sizes[math.ceil(0.9 * len(sizes)) - 1]:.2%}, the largest {sizes[-1]:.2%}; by "
        f"the spread within calibrations the standard error is {statistics.median(noises):.2%}."
    )
    return 0


if __name__ == "__main__":
    flags.DEFINE_integer("pairs", 20, "Pairs of calibrations to measure.", lower_bound=1)
    flags.DEFINE_enum("framework", "jax", FRAMEWORKS, "What works on the GPUs, if there are any.")
    commandline.run(main)
