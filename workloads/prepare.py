"""Makes the data of workloads ready: ``python -m workloads.prepare digits --data_dir data``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from finishline.data import splits
from finishline.errors import BAD_INPUT_EXIT_CODE, UserError
from finishline.workload import SPLITS, WorkloadDefinition, all_workloads, find_workload


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepares the data of the workloads named; returns the exit code."""
    flags = _parser().parse_args(arguments)
    try:
        for workload in [find_workload(name) for name in flags.workload]:
            if not flags.verify:
                workload.dataset.prepare(flags.data_dir)
            _report(workload, flags.data_dir)
    except UserError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE
    except OSError as error:
        print(f"prepare: cannot write to {flags.data_dir}: {error}.", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE
    return 0


def _report(workload: WorkloadDefinition, data_dir: Path) -> None:
    """Prints what there is, after reading all of it."""
    for split in SPLITS:
        folder = workload.dataset.folder(data_dir, split)
        print(f"{workload.name}: {splits.verify_split(folder):,} {split} examples in {folder}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workloads.prepare",
        description="Makes the data of workloads ready. What is there in full is left as it is.",
        epilog=_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workload", nargs="+", help="name of a workload")
    parser.add_argument(
        "--data_dir", type=Path, default=Path("data"), help="where the data lie (default: data)"
    )
    parser.add_argument(
        "--verify", action="store_true", help="make nothing, only check every byte of what is there"
    )
    return parser


def _table() -> str:
    """One line a workload: its name and where its data come from."""
    width = max(map(len, all_workloads()))
    rows = [
        f"  {name:<{width}}  {'generated' if workload.is_embedded else 'to be obtained by hand'}"
        for name, workload in all_workloads().items()
    ]
    return "\n".join(["workloads:", *rows])


if __name__ == "__main__":
    sys.exit(main())
