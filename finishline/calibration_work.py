"""A fixed piece of work, timed: how fast the machine is just now.

Runs in a process of its own, so that the second time does not depend on what the referee has done
since the first. The arguments of ``measure`` go in as JSON on the command line; what it returns
comes out as JSON.
"""

import importlib
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence

NUM_REPEATS = 21
_NUM_WARM_UPS = 2  # pages, caches and clock frequencies settle
_MIN_REPEATS = 7
_MAX_SEC = 3.0  # on a slow or busy machine there are fewer repeats
_GPU_WARM_UP_SEC = 0.5  # until its clocks have risen

# Each part takes about 10 ms on a processor of 2023.
_MATRIX_SIZE = 768
_NUM_PRODUCTS = 4
_STREAM_SIZE = 1 << 22  # 16 MiB an array: beyond the caches that a core has for itself
_NUM_STREAMS = 8
_LOOP_LENGTH = 400_000

Work = Callable[[], None]


def cpu_parts() -> dict[str, Work]:
    """Pieces of work for the processors: all cores, the memory, the interpreter."""
    import numpy as np  # here, because its threads run where the one that imports it may

    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, _MATRIX_SIZE, _MATRIX_SIZE), dtype=np.float32)
    product = np.empty_like(left)
    source = np.ones(_STREAM_SIZE, dtype=np.float32)
    sums = np.zeros_like(source)

    def multiply() -> None:
        for _ in range(_NUM_PRODUCTS):
            np.matmul(left, right, out=product)

    def stream() -> None:
        for _ in range(_NUM_STREAMS):
            np.add(sums, source, out=sums)

    def loop() -> None:
        total = 0
        for number in range(_LOOP_LENGTH):
            total += number & 7

    return {"matmul": multiply, "memory": stream, "python": loop}


def time_parts(parts: Mapping[str, Work], warm_up: Callable[[], None]) -> dict[str, float]:
    """Does the parts in turn, several times.

    Returns:
      The median seconds of each part under its name, and of all together:
      ``seconds``: their median over the repeats,
      ``cpu_seconds``: the same by the processor time of the main thread: less where others ran,
      ``noise``: the standard error of ``seconds`` as a share of it,
      ``repeats``: how many there were.
    """
    warm_up()
    rows: list[list[float]] = []
    cpu: list[float] = []
    started = time.perf_counter()
    while len(rows) < NUM_REPEATS:
        if len(rows) >= _MIN_REPEATS and time.perf_counter() - started > _MAX_SEC:
            break
        cpu_before = time.thread_time()
        rows.append([_seconds(work) for work in parts.values()])
        cpu.append(time.thread_time() - cpu_before)
    totals = [sum(row) for row in rows]
    medians = map(statistics.median, zip(*rows, strict=True))
    return {
        **dict(zip(parts, medians, strict=True)),
        "seconds": statistics.median(totals),
        "cpu_seconds": statistics.median(cpu),
        "noise": standard_error(totals) / statistics.median(totals),
        "repeats": len(totals),
    }


def standard_error(values: Sequence[float]) -> float:
    """The standard error of the median, from the median absolute deviation.

    1.4826 makes a standard deviation of the latter, sqrt(pi / 2) an error of the median of that of
    a mean, both for normally distributed values.
    """
    middle = statistics.median(values)
    deviation = 1.4826 * statistics.median(abs(value - middle) for value in values)
    return math.sqrt(math.pi / 2 / len(values)) * deviation


def measure(
    framework: str, num_gpus: int = 0, cpus: Sequence[int] | None = None
) -> dict[str, dict[str, float]]:
    """Times the processors, under ``cpu``, and each of ``num_gpus`` GPUs, under ``gpu<i>``.

    Args:
      framework: whose matrix product runs on the GPUs: 'jax' or 'pytorch'.
      num_gpus: how many of them.
      cpus: the processors to work on; None is those of this process.
    """
    if cpus:
        os.sched_setaffinity(0, cpus)
    parts = cpu_parts()

    def warm_up() -> None:
        for _ in range(_NUM_WARM_UPS):
            for work in parts.values():
                work()

    measured = {"cpu": time_parts(parts, warm_up)}
    if num_gpus:
        measured |= _measure_gpus(framework, num_gpus)
    return measured


def _measure_gpus(framework: str, num_gpus: int) -> dict[str, dict[str, float]]:
    module = importlib.import_module(f"finishline.frameworks.{framework}.calibration")
    measured = {}
    for index in range(num_gpus):
        work: Work = module.matmul(index)

        def warm_up(work: Work = work) -> None:
            started = time.perf_counter()
            while time.perf_counter() - started < _GPU_WARM_UP_SEC:
                work()

        measured[f"gpu{index}"] = time_parts({"matmul": work}, warm_up)
    return measured


def _seconds(work: Work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(measure(**json.loads(sys.argv[1]))))
