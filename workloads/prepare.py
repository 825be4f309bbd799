"""Makes the data of workloads ready: ``python -m workloads.prepare digits --data_dir data``."""

import argparse
import difflib
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from finishline.data import splits
from finishline.data.preparation import format_bytes
from finishline.errors import BAD_INPUT_EXIT_CODE, Status, UserError
from finishline.workload import (
    SPLITS,
    Dataset,
    all_datasets,
    all_workloads,
    tell_if_partial,
    told_of_missing_packages,
)

_ABOUT = """\
Makes data ready for training and evaluation. What is there in full is left as it is, and what was
interrupted goes on from where it was. Generated data need nothing; of the others the originals are
looked for in <data_dir>/<data set>/, or where --source says.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepares the data sets named; returns the exit code."""
    flags = _parser().parse_args(arguments)
    try:
        datasets = find_datasets(flags.name)
        if flags.source and len(datasets) > 1:
            raise UserError(
                f"--source={flags.source} has the originals of one data set, and "
                f"{' and '.join(one.name for one in datasets)} are named; prepare one at a time."
            )
        for dataset in datasets:
            if not flags.verify:
                with told_of_missing_packages(dataset):
                    dataset.prepare(flags.data_dir, flags.source, flags.num_workers)
            _report(dataset, flags.data_dir, verify=flags.verify)
    except UserError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE
    except OSError as error:
        print(f"prepare: cannot write to {flags.data_dir}: {error}.", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE
    except KeyboardInterrupt:
        given = sys.argv[1:] if arguments is None else arguments
        command = shlex.join(["python", "-m", "workloads.prepare", *given])
        print(
            f"prepare: interrupted; what is finished is kept. Go on with: {command}",
            file=sys.stderr,
        )
        return Status.INTERRUPTED.exit_code
    return 0


def find_datasets(names: Sequence[str]) -> list[Dataset]:
    """The data sets called ``names``, or read by workloads called so; each once.

    Raises:
      UserError: there is none of a name; the message has the nearest names.
    """
    known = {name: workload.dataset for name, workload in all_workloads().items()}
    known |= all_datasets()
    for name in names:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or list(known)
            raise UserError(
                f"There is no data set or workload {name!r}; did you mean {', '.join(nearest)}?"
            )
    return list({known[name].name: known[name] for name in names}.values())


def _report(dataset: Dataset, data_dir: Path, *, verify: bool) -> None:
    """Prints what there is of each split, after reading all of it if ``verify``."""
    for split in SPLITS:
        folder = dataset.folder(data_dir, split)
        if verify:
            splits.verify_split(folder)
        with told_of_missing_packages(dataset):
            count = len(dataset.open(data_dir, split))
        print(f"{dataset.name}: {count:,} {split} examples in {folder}")
        tell_if_partial(dataset, split, count)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workloads.prepare",
        description=_ABOUT,
        epilog=_table(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="+", help="a data set, or a workload that reads it")
    parser.add_argument(
        "--data_dir", type=Path, default=Path("data"), help="where the data lie (default: data)"
    )
    parser.add_argument(
        "--source",
        type=Path,
        help="folder with the originals (default: <data_dir>/<data set>)",
    )
    parser.add_argument(
        "--num_workers",
        type=_positive,
        default=len(os.sched_getaffinity(0)),
        help="how many processes work (default: one for each core, here %(default)s)",
    )
    parser.add_argument(
        "--verify", action="store_true", help="make nothing, only check every byte of what is there"
    )
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of processes")
    return int(text)


def _table() -> str:
    """One line a data set: its name, its size when prepared, and where it comes from."""
    datasets = all_datasets()
    width = max(map(len, datasets))
    rows = [
        f"  {name:<{width}}  {size_of(dataset):>7}  {dataset.origin}"
        for name, dataset in sorted(datasets.items())
    ]
    return "\n".join(["data sets, with about what they take on the disk:", *rows])


def size_of(dataset: Dataset) -> str:
    """About what the prepared data take on the disk, in words."""
    return "" if dataset.disk_bytes is None else format_bytes(dataset.disk_bytes)


if __name__ == "__main__":
    sys.exit(main())
