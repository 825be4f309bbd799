"""Measures a snapshot in a process of its own: ``python -m finishline.auditing.measure IN OUT``.

IN is JSON with the arguments of ``measure``; OUT gets the metrics, or a sentence: as ``bad_input``
if the data are not there, as ``wrong_snapshot`` if the arrays are not the model's.
"""

import json
import sys
from pathlib import Path
from typing import Any

from finishline.benchmark import definition_for
from finishline.errors import SubmissionError, UserError
from finishline.frameworks.environment import prepare_environment
from finishline.workload import check_data, find_workload


def measure(
    *,
    workload: str,
    benchmark_version: str,
    hardware: str | None,
    snapshot: str,
    snapshot_framework: str,
    framework: str,
    data_dir: str,
    num_devices: int,
) -> dict[str, float]:
    """All metrics of a snapshot on all splits, by the reference code.

    Args:
      workload: name of the workload.
      benchmark_version: the version whose numbers and quirks apply.
      hardware: its class of machines; None is the usual one.
      snapshot: the file.
      snapshot_framework: the framework whose model the snapshot is of.
      framework: the framework to measure in.
      data_dir: where the data sets are.
      num_devices: how many devices share the work, if there are so many.

    Raises:
      UserError: the data are not there.
      SubmissionError: the snapshot is not one of this model.
    """
    from safetensors.numpy import load

    from finishline.devices import count_devices
    from finishline.evaluator import Evaluator
    from finishline.frameworks.base import check_snapshot
    from finishline.frameworks.convert import convert_snapshot

    definition = definition_for(find_workload(workload), benchmark_version, hardware)
    check_data(definition, Path(data_dir))
    prepare_environment(framework)
    devices = min(num_devices, count_devices(framework))
    evaluator = Evaluator(definition, framework, Path(data_dir), num_devices=devices)
    content = Path(snapshot).read_bytes()
    if framework == snapshot_framework:
        return evaluator.evaluate(evaluator.parse(content))
    arrays = convert_snapshot(load(content), framework, evaluator.snapshot_spec)
    check_snapshot(arrays, evaluator.snapshot_spec)
    return evaluator.evaluate(arrays)


def main(arguments: list[str]) -> None:
    """Measures what the file ``arguments[0]`` asks for."""
    source, destination = map(Path, arguments)
    result: dict[str, Any]
    try:
        result = measure(**json.loads(source.read_text()))
    except UserError as error:
        result = {"bad_input": str(error)}
    except SubmissionError as error:
        result = {"wrong_snapshot": str(error)}
    destination.write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
