"""The page ``docs/workloads.md``, made from the definitions and the published numbers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from finishline.benchmark import VERSIONS, bases, load_version, quirk_texts
from finishline.suites import all_suites
from workloads import wording
from workloads.description import Description

Descriptions = Mapping[str, Description]

_HEAD = """\
# Workloads

<!-- Made by `make docs`; do not edit. -->

`python -m workloads.describe NAME` says all of one workload, and `--json` says it to programs.
`python -m workloads.prepare NAME --data_dir data` makes its data ready.
"""

_VERSIONS = """\
## Budgets by version and hardware

`--benchmark_version` (default: the newest) and `--hardware` (default: the first class of a version)
of the runners say which row applies. Variants have the numbers of their base workload, in versions
that do not score them, too; a workload that came after a version has the numbers it came with. All
others, such as the small ones, are the same in every version. Under the self-tuning ruleset budgets
are multiplied.
"""

_QUIRKS = """\
## Quirks

Known defects of the published benchmark that its targets were set with. They are on in runs by its
versions, recorded in `meta.json`, and off in all other workloads.
"""


def handbook(described: Descriptions) -> str:
    """The page as Markdown."""
    sections = [
        _HEAD,
        "## Which there are\n",
        _identity(described),
        "Parameters are those of both frameworks. \\* not one of AlgoPerf's.\n",
        _remarks(described),
        "## Models\n",
        _models(described),
        "## Examples\n",
        _examples(described),
        _VERSIONS,
        _rules(),
        _budgets(described),
        _QUIRKS,
        _quirks(described),
        "## Data\n",
        _data(described),
        "## Suites\n",
        _suites(),
    ]
    return "\n".join(sections)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a head that ends in ':' has its column set to the right."""
    lines = [[head.removesuffix(":") for head in heads]]
    lines.append(["--:" if head.endswith(":") else ":--" for head in heads])
    return "".join(f"| {' | '.join(line)} |\n" for line in [*lines, *rows])


def _identity(described: Descriptions) -> str:
    heads = ("name", "task", "loss", "target", "on test:", "parameters:")
    rows = (
        (
            f"`{name}`" + ("" if name in bases() else "\\*"),
            one["task"],
            one["loss"].replace("_", " "),
            wording.target(one),
            wording.test_target(one),
            wording.parameters(one),
        )
        for name, one in described.items()
    )
    return _table(heads, rows)


def _remarks(described: Descriptions) -> str:
    return "".join(
        f"`{name}`: {one['remark']}\n" for name, one in described.items() if one["remark"]
    )


def _models(described: Descriptions) -> str:
    """The configuration of each model; of a variant what differs from its base."""
    return _table(
        ("name", "model"), ((f"`{n}`", _model(one, described)) for n, one in described.items())
    )


def _model(one: Description, described: Descriptions) -> str:
    base = described.get(one["variant_of"] or "")
    if base is None:
        return f"`{wording.model(one['model'])}`"
    changes = {k: v for k, v in one["model"].items() if base["model"].get(k) != v}
    return f"`{one['variant_of']}` with `{wording.model(changes)}`"


def _examples(described: Descriptions) -> str:
    heads = ("workloads", "data", "train:", "validation:", "test:", "train evaluated:", "batch:")
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, one in described.items():
        counts = [
            f"{one['dataset']['num_examples'][split]:,}"
            for split in ("train", "validation", "test")
        ]
        evaluation = (f"{one['num_eval_train_examples']:,}", f"{one['eval_batch_size']:,}")
        groups.setdefault((one["dataset"]["name"], *counts, *evaluation), []).append(f"`{name}`")
    return (
        "`train evaluated` is how many training examples an evaluation measures, `batch` its batch "
        "size.\n\n" + _table(heads, ((", ".join(names), *key) for key, names in groups.items()))
    )


def _rules() -> str:
    heads = ("version", "studies:", "trials:", "self-tuning:", "hardware", "matrix products")
    rows = (
        (
            version.name,
            f"{version.num_studies}",
            f"{version.num_trials['external']}",
            f"{version.num_trials['self']} trial, {version.self_tuning_budget_factor:g} x budget",
            ", ".join(version.hardware),
            "TF32" if version.float32_matmul_precision == "high" else "float32",
        )
        for version in map(load_version, VERSIONS)
    )
    return _table(heads, rows)


def _budgets(described: Descriptions) -> str:
    heads = ("workload", "version", "hardware", "budget:", "evaluated every:", "step hint:")
    return _table(heads, _budget_rows(described))


def _budget_rows(described: Descriptions) -> Iterator[Sequence[str]]:
    for name, one in described.items():
        if one["variant_of"]:
            continue
        for version, numbers in one["versions"].items():
            for hardware, limits in numbers["hardware"].items():
                yield (
                    f"`{name}`",
                    version,
                    hardware,
                    wording.duration(limits["max_allowed_runtime_sec"]),
                    f"{limits['eval_period_time_sec']:,g} s",
                    f"{numbers['step_hint']:,}",
                )


def _quirks(described: Descriptions) -> str:
    rows = []
    for quirk, text in quirk_texts().items():
        having = [
            (name, [v for v, numbers in one["versions"].items() if quirk in numbers["quirks"]])
            for name, one in described.items()
        ]
        names = [f"`{name}`" for name, versions in having if versions]
        versions = sorted({version for _, found in having for version in found})
        rows.append((f"`{quirk}`", text, ", ".join(names), ", ".join(versions)))
    return _table(("name", "what", "workloads", "versions"), rows)


def _data(described: Descriptions) -> str:
    datasets = {one["dataset"]["name"]: one["dataset"] for one in described.values()}
    rows = ((f"`{n}`", wording.size(one), one["origin"]) for n, one in sorted(datasets.items()))
    return (
        "Sizes are those of the prepared data. Generated data are made when they are first needed. "
        "Of the others the\noriginals are looked for in `data/<name>/`, or where `--source` says; "
        "if they are missing, the message\nsays which files, and how to obtain them. "
        "`--verify` checks every byte.\n\n" + _table(("data", "size:", "where from"), rows)
    )


def _suites() -> str:
    rows = (
        (f"`{name}`", one.about, ", ".join(f"`{workload}`" for workload in one.workloads))
        for name, one in all_suites().items()
    )
    return "`python competition.py --suite=NAME` runs one.\n\n" + _table(
        ("name", "what", "workloads"), rows
    )
