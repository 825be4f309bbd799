"""What scoring costs: CPU seconds and memory for the logs of AlgoPerf 0.5, external tuning.

Usage: ``python -m benchmarks.scoring [--rounds=3] [--copies=10]``

Each run is a process of its own. Seconds are user and system time less those of a process that only
imports the same modules; memory is the largest resident set. Figures are medians over the rounds.
The first run of a case finds no cache, the second the first one's. The logs are those in
``../shared/golden``.
"""

import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from finishline import commandline

flags.DEFINE_integer("rounds", 3, "Measurements of each case.", lower_bound=1)
flags.DEFINE_integer("copies", 10, "Copies of the logs in the large case.", lower_bound=2)
flags.DEFINE_string("output", None, "JSON file for the figures.")

_ROOT = Path(__file__).resolve().parent.parent
_ARCHIVE = _ROOT.parent / "shared" / "golden" / "v05_external" / "logs.tar.xz"
_SCORE = (
    "import json, sys\n"
    "from scoring.score_submissions import main\n"
    "code = main(['score', *sys.argv[2:]])\n"
    "open(sys.argv[1], 'w').write(json.dumps(list(sys.modules)))\n"
    "sys.exit(code)\n"
)
_IMPORT = (
    "import contextlib, importlib, json, sys\n"
    "for name in json.load(open(sys.argv[1])):\n"
    "    with contextlib.suppress(ImportError):\n"
    "        importlib.import_module(name)\n"
)


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a process took: user and system seconds, and peak memory in MB."""

    cpu: float
    peak_mb: float


@dataclasses.dataclass(frozen=True)
class Figures:
    """Medians of a case; ``imports`` is the CPU seconds that the other two are beyond."""

    imports: float
    first: Usage
    second: Usage


def main(argv: list[str]) -> int:
    """Measures the cases and prints a line for each."""
    del argv
    if not _ARCHIVE.is_file():
        print(f"Scoring is not measured: the published logs are not there ({_ARCHIVE}).")
        return 0
    copies = flags.FLAGS.copies
    with tempfile.TemporaryDirectory() as folder:
        logs, many = _unpack(Path(folder), copies)
        num_logs = sum(1 for _ in logs.rglob("eval_measurements.csv"))
        print(f"{num_logs:,} logs, CPU seconds beyond imports:", flush=True)
        plain = _measure("without the page", logs, ["--nohtml"])
        full = _measure("with everything", logs, ["--bootstrap=1000", "--reference=baseline"])
        large = _measure(f"{copies} times the logs", many, ["--nohtml"])
    ratio = large.first.cpu / plain.first.cpu
    print(f"{copies} times the logs take {ratio:.1f} times as long", flush=True)
    if flags.FLAGS.output:
        cases = {"without_page": plain, "everything": full, "large": large}
        figures = {name: dataclasses.asdict(case) for name, case in cases.items()}
        Path(flags.FLAGS.output).write_text(json.dumps({**figures, "ratio": ratio}, indent=2))
    return 0


def _unpack(scratch: Path, copies: int) -> tuple[Path, Path]:
    """The logs, and ``copies`` of them under other names, each a submission of its own."""
    logs, many = scratch / "v05_external", scratch / "many"
    # Not in this process: on Linux the peak memory of a child begins with that of its parent.
    command = [sys.executable, "-m", "tarfile", "--filter=data", "--extract", str(_ARCHIVE)]
    subprocess.run([*command, str(scratch)], check=True)
    for copy in range(copies):
        for submission in sorted(logs.iterdir()):
            target = many / f"{submission.name}_{copy}"
            shutil.copytree(submission, target, copy_function=os.link)
    return logs, many


def _measure(name: str, logs: Path, arguments: Sequence[str]) -> Figures:
    imports, first, second = [], [], []
    for _ in range(flags.FLAGS.rounds):
        with tempfile.TemporaryDirectory() as folder:
            modules = f"{folder}/modules.json"
            command = [
                *(sys.executable, "-c", _SCORE, modules),
                *(f"--submission_directory={logs}", f"--output_dir={folder}/out"),
                *("--workload_targets=0.5", *arguments),
            ]
            first.append(_run(command))
            second.append(_run(command))
            imports.append(_run([sys.executable, "-c", _IMPORT, modules]).cpu)
    figures = Figures(statistics.median(imports), _median(first, imports), _median(second, imports))
    print(
        f"{name:>20}: {figures.first.cpu:.2f} s, again {figures.second.cpu:.2f} s, imports "
        f"{figures.imports:.2f} s; peak memory {figures.first.peak_mb:.0f} MB, again "
        f"{figures.second.peak_mb:.0f} MB",
        flush=True,
    )
    return figures


def _median(runs: Sequence[Usage], imports: Sequence[float]) -> Usage:
    beyond = [run.cpu - one for run, one in zip(runs, imports, strict=True)]
    return Usage(statistics.median(beyond), statistics.median(run.peak_mb for run in runs))


def _run(command: Sequence[str]) -> Usage:
    """Runs a process and those that it starts.

    Raises:
      SystemExit: it failed.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=_ROOT, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            text = output.read().decode(errors="replace")
            raise SystemExit(f"{command} failed with code {process.returncode}:\n{text[-2000:]}")
    return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    commandline.run(main)
