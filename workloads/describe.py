"""Tells what workloads are: ``python -m workloads.describe imagenet_vit``."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finishline.errors import BAD_INPUT_EXIT_CODE, UserError
from finishline.workload import all_workloads, find_workload
from workloads import wording
from workloads.description import ANY, Description, describe_all

_ABOUT = """\
Tells of workloads what they learn from which data, their targets, budgets and models. Of several a
table, of one all there is. No data are read and no model is allocated.
"""
_WIDTH = 160  # of a table that does not go to a terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Describes the workloads named, or all; returns the exit code."""
    flags = _parser().parse_args(arguments)
    try:
        chosen = [find_workload(name) for name in flags.name] or list(all_workloads().values())
    except UserError as error:
        print(f"describe: {error}", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE
    if flags.markdown:
        from workloads.handbook import handbook

        print(handbook(describe_all(chosen)), end="")
        return 0
    described = describe_all(chosen, flags.data_dir)
    if flags.json:
        print(json.dumps(wording.without_nan(described), indent=2))
        return 0
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    console.print(table(described) if len(described) > 1 else card(*described.values()))
    return 0


def table(described: Mapping[str, Description]) -> Table:
    """One line a workload."""
    made = Table(title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in ("name", "task", "data", "prepared", "target"):
        made.add_column(heading, no_wrap=heading != "task")
    for heading in ("examples", "budget", "steps", "parameters"):
        made.add_column(heading, justify="right", no_wrap=True)
    for name, one in described.items():
        made.add_row(
            name,
            escape(one["task"]),
            one["dataset"]["name"],
            "yes" if one["dataset"]["is_prepared"] else "no",
            wording.target(one),
            f"{one['dataset']['num_examples']['train']:,}",
            f"{one['max_allowed_runtime_sec']:,g} s",
            f"{one['step_hint']:,}",
            wording.parameters(one),
        )
    return made


def card(one: Description) -> Table:
    """All there is of one workload."""
    made = Table(title=one["name"], title_justify="left", box=None, show_header=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for heading, text in _lines(one):
        made.add_row(heading, escape(text))
    return made


def _lines(one: Description) -> list[tuple[str, str]]:
    data = one["dataset"]
    state = "prepared" if data["is_prepared"] else "not prepared"
    counts = ", ".join(f"{count:,} {split}" for split, count in data["num_examples"].items())
    fields = ", ".join(f"{name} {dtype}{shape}" for name, (shape, dtype) in data["fields"].items())
    return [
        ("task", one["task"]),
        ("variant of", one["variant_of"] or "-"),
        ("suites", ", ".join(one["suites"]) or "-"),
        ("data", f"{data['name']} ({state}, {wording.size(data)}): {data['origin']}"),
        ("examples", f"{counts}; {one['num_eval_train_examples']:,} of train in an evaluation"),
        ("an example", fields),
        ("loss", one["loss"]),
        ("metrics", ", ".join(one["metrics"])),
        ("target", f"{wording.target(one)} on validation, {wording.test_target(one)} on test"),
        *([("remark", one["remark"])] if one["remark"] else []),
        *[line for item in one["versions"].items() for line in _version_lines(*item)],
        ("evaluation batch", f"{one['eval_batch_size']:,}"),
        ("dropout", f"{one['dropout_rate']:g}"),
        ("model", wording.model(one["model"])),
        ("parameters", wording.parameters(one)),
    ]


def _version_lines(version: str, numbers: Description) -> list[tuple[str, str]]:
    heading = "in every version" if version == ANY else f"version {version}"
    quirks = ", ".join(numbers["quirks"])
    precision = "TF32" if numbers["matmul_precision"] == "high" else "float32"
    rest = f"{numbers['step_hint']:,} steps, {precision}" + (
        f", quirks: {quirks}" if quirks else ""
    )
    budgets = [
        ("" if hardware == ANY else f"{hardware}: ")
        + f"{wording.duration(limits['max_allowed_runtime_sec'])}, "
        + f"evaluated every {limits['eval_period_time_sec']:,g} s"
        for hardware, limits in numbers["hardware"].items()
    ]
    return [(heading, "; ".join([*budgets, rest]))]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workloads.describe", description=_ABOUT)
    parser.add_argument("name", nargs="*", help="a workload (default: all)")
    parser.add_argument(
        "--data_dir",
        type=Path,
        default=Path("data"),
        help="where to look for prepared data (default: data)",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object, by workload")
    form.add_argument("--markdown", action="store_true", help="the page docs/workloads.md")
    return parser


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # shapes are traced; a GPU stays free
    sys.exit(main())
