"""The page of a board, made from its entries and nothing else."""

import collections
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from finishline.benchmark import definition_for
from finishline.board.entry import Entry, check_logs, read_entries
from finishline.errors import UserError
from finishline.records import write_atomically
from finishline.workload import find_workload
from scoring.runs import Names, names_of
from scoring.score_submissions import score_directory
from scoring.scores import Options
from scoring.versions import Benchmark

ENTRIES_FILE = "entries.md"
_BOOTSTRAP_SAMPLES = 1000
_SHARED = ("ruleset", "benchmark_version", "hardware_class")


def write_page(board: Path, output_dir: Path, *, html: bool = True) -> dict[str, object]:
    """Scores the logs of all entries; the same entries make the same bytes.

    Args:
      board: the folder with the entries.
      output_dir: where the files of ``scoring`` and ``entries.md`` are written.
      html: whether to write ``leaderboard.html``, too.

    Returns:
      The content of ``scores.json``.

    Raises:
      UserError: a log does not have the hash that its entry says, or the entries are of different
        races; the message names the file.
    """
    entries = read_entries(board)
    _check_shared(entries)
    logs = {entry.submission: check_logs(path, entry) for path, entry in entries.items()}
    with tempfile.TemporaryDirectory(prefix="finishline-board-") as name:
        root = Path(name, "logs")
        root.mkdir()
        for submission, folder in logs.items():
            (root / submission).symlink_to(folder.resolve())
        result = score_directory(
            root, output_dir, _options(list(entries.values())), html=html, cache_dir=Path(name)
        )
    text = _entries_text(list(entries.values()))
    write_atomically(output_dir / ENTRIES_FILE, text.encode())
    return result


def _check_shared(entries: Mapping[Path, Entry]) -> None:
    (first_path, first), *others = entries.items()
    for name in _SHARED:
        for path, entry in others:
            one, other = getattr(first, name), getattr(entry, name)
            if one != other:
                raise UserError(
                    f"{path} has the {name} {other!r}, {first_path} {one!r}: their times cannot be "
                    "compared; give each a board of its own."
                )


def _options(entries: list[Entry]) -> Options:
    places = [_place(entry, trial.path) for entry in entries for trial in entry.trials]
    workloads = sorted({place.workload for place in places})
    num_studies = len({place.study for place in places})
    version, hardware = entries[0].benchmark_version, entries[0].hardware_class
    benchmark = Benchmark(
        # The project's own targets, not those that the logs claim to have had.
        targets={
            name: definition_for(find_workload(name), version, hardware).target
            for name in workloads
        },
        base_workloads=tuple(workloads),
        num_studies=num_studies,
    )
    return Options(
        benchmark=benchmark,
        ruleset=entries[0].ruleset,
        bootstrap=_BOOTSTRAP_SAMPLES if num_studies > 1 else 0,
    )


def _place(entry: Entry, path: str) -> Names:
    place = names_of(Path(entry.submission, path))
    if place is None:
        raise UserError(
            f"The entry of {entry.submission} has a trial in {path!r} instead of "
            "study_<k>/<workload>_<framework>/trial_<n>; add it anew from its experiment."
        )
    return place


def _entries_text(entries: list[Entry]) -> str:
    """Who is on the board, as a page in Markdown."""
    header = ("submission", "version", "authors", "framework", "date", "trials", "audit", "source")
    rows = [
        (
            entry.submission,
            entry.version,
            entry.authors,
            entry.framework,
            entry.date.isoformat(),
            str(len(entry.trials)),
            _verdicts(entry),
            entry.source_hash[:12],
        )
        for entry in entries
    ]
    first = entries[0]
    machines = sorted({_machine(entry) for entry in entries})
    lines = [
        "# Entries",
        "",
        _row(header),
        _row([":--"] * len(header)),
        *map(_row, rows),
        "",
        f"Benchmark {first.benchmark_version}, {first.ruleset} tuning; budgets of "
        f"{first.hardware_class}. Machines: {'; '.join(machines)}.",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _verdicts(entry: Entry) -> str:
    counts = collections.Counter(trial.verdict for trial in entry.trials)
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))


def _machine(entry: Entry) -> str:
    hardware = entry.hardware
    gpus = f", {', '.join(hardware['gpus'])}" if hardware["gpus"] else ""
    return f"{hardware['processor']}, {hardware['cores']} cores{gpus}"
