"""Scores a directory of logs: ``python -m scoring.score_submissions --help``."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from finishline.errors import BAD_INPUT_EXIT_CODE, UserError
from finishline.records import write_atomically
from scoring import document, tables
from scoring.rules import AS_PUBLISHED, DEFAULT
from scoring.scores import Options
from scoring.versions import load_benchmark

_USAGE = """\
Scores the logs of submissions and writes the leaderboard.

  python -m scoring.score_submissions --submission_directory DIR --output_dir OUT

DIR holds <submission>/study_<k>/<workload>_<jax|pytorch>/trial_<n>/eval_measurements.csv.
"""
_CACHE_FILE = ".evaluations.cache"


def score_directory(
    root: Path,
    output_dir: Path,
    options: Options | None = None,
    *,
    html: bool = True,
    cache_dir: Path | None = None,
) -> dict[str, Any]:
    """Scores the logs below ``root`` and writes the leaderboard's files to ``output_dir``.

    Each file is whole or absent at any moment; those of an earlier scoring are replaced.

    Args:
      root: the directory with one directory a submission.
      output_dir: made if it is not there.
      options: how to score; ``skip``, ``cache`` and ``keep_curves`` are chosen here.
      html: whether to write ``leaderboard.html``, too.
      cache_dir: where parsed logs are kept for the next scoring; ``output_dir`` by default.

    Returns:
      The content of ``scores.json``.

    Raises:
      UserError: there are no logs, they do not fit the options, or the files cannot be written.
    """
    options = dataclasses.replace(
        options or Options(),
        skip=output_dir,
        cache=(cache_dir or output_dir) / _CACHE_FILE,
        keep_curves=html,
    )
    _make(output_dir)
    result, curves = document.build(root, options)
    _write(output_dir, tables.files(result))
    if html:
        _write(output_dir, {"leaderboard.html": _page(result, curves)})
    return result


def _page(result: dict[str, Any], curves: document.Curves) -> str:
    try:
        from scoring import page  # with its libraries, which the tables do without
    except ImportError as error:
        raise UserError(
            f"leaderboard.html needs {error.name}; install the extra 'report' or pass --nohtml."
        ) from error
    return page.render(result, curves)


def _write(folder: Path, files: dict[str, str]) -> None:
    try:
        for name, text in files.items():
            # Names of directories may be bytes that are no text.
            write_atomically(folder / name, text.encode(errors="backslashreplace"))
    except OSError as error:
        raise _unwritable(folder, error) from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"The leaderboard cannot be written to {folder} ({error.strerror});"
        " choose another --output_dir."
    )


def _define_flags() -> flags.FlagValues:
    # Own values: another command line that imports this module keeps its flags to itself.
    values = flags.FlagValues()

    def text(name: str, words: str) -> None:
        flags.DEFINE_string(name, None, words, values)

    def switch(name: str, words: str) -> None:
        flags.DEFINE_boolean(name, False, words, values)

    def number(name: str, words: str, *, lowest: int = 1, default: int | None = None) -> None:
        flags.DEFINE_integer(name, default, words, lower_bound=lowest, flag_values=values)

    text("submission_directory", "Directory with one directory a submission.")
    text("output_dir", "Where the leaderboard's files are written.")
    text(
        "workload_targets",
        "Version of AlgoPerf's benchmark (0.5, 0.6 or 1.0), or JSON file with the scored workloads"
        " and their targets, in AlgoPerf's format (default: what the logs recorded, else the"
        " project's own targets).",
    )
    switch("self_tuning_ruleset", "Whether the submissions tuned themselves: one trial a study.")
    switch(
        "as_published",
        "Score by the rules of the published tables: of a study, the trial with the fewest"
        " evaluations; trapezoid on 100 points; only the studies that are there.",
    )
    switch(
        "strict",
        "Enforce the rules of the benchmark version: runs that break them are listed and do not"
        " count.",
    )
    text("include_submissions", "Comma-separated names: score only these submissions.")
    text("exclude_submissions", "Comma-separated names: leave these submissions out.")
    text("reference", "Submission that speedups are relative to.")
    number(
        "num_studies",
        "Studies a workload; missing ones count as failed (default: the benchmark version's, else"
        " the most that a submission has).",
    )
    number("bootstrap", "Bootstrap samples for intervals; 0 for none.", lowest=0, default=0)
    number("seed", "Seed of the bootstrap.", lowest=0, default=0)
    flags.DEFINE_boolean("html", True, "Whether to write leaderboard.html.", values)
    text("cache_dir", "Where parsed logs are kept for the next scoring (default: output_dir).")
    flags.DEFINE_boolean("help", False, "Show this text.", values, short_name="h")
    return values


def main(argv: Sequence[str]) -> int:
    """Runs the command line ``argv`` (program name first) and returns its exit code."""
    values = _define_flags()
    try:
        surplus = values(argv)[1:]
        if values.help:
            print(f"{_USAGE}\n{values.get_help()}")
            return 0
        if surplus:
            raise UserError(f"The argument {surplus[0]!r} is not known; see --help.")
        _score(values)
    except flags.Error as error:
        print(f"Error: {' '.join(str(error).split()).rstrip('.')}; see --help.", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return BAD_INPUT_EXIT_CODE
    print(f"\nWritten to {values.output_dir}.")
    return 0


def _score(values: flags.FlagValues) -> None:
    for name in ("submission_directory", "output_dir"):
        if not values[name].value:
            raise UserError(f"The flag --{name} is missing; see --help.")
    result = score_directory(
        Path(values.submission_directory),
        Path(values.output_dir),
        _options(values),
        html=values.html,
        cache_dir=Path(values.cache_dir) if values.cache_dir else None,
    )
    tables.print_leaderboard(result)


def _options(values: flags.FlagValues) -> Options:
    benchmark = load_benchmark(values.workload_targets) if values.workload_targets else None
    if values.strict and benchmark is None:
        raise UserError("The flag --strict needs the rules of a version; give --workload_targets.")
    return Options(
        benchmark=benchmark,
        num_studies=values.num_studies,
        ruleset="self" if values.self_tuning_ruleset else "external",
        rules=AS_PUBLISHED if values.as_published else DEFAULT,
        is_strict=values.strict,
        include=_names(values.include_submissions),
        exclude=_names(values.exclude_submissions),
        reference=values.reference,
        bootstrap=values.bootstrap,
        seed=values.seed,
    )


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, (text or "").split(","))))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
