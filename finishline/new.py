"""Makes a new submission, NAME, which passes the checker and trains at once: AdamW with comments.

It is a copy of reference_submissions/template, whose comments say what each function is for.

Example:
  python -m finishline.new my_algorithm --framework=jax
"""

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from finishline import commandline
from finishline.checking.folder import FRAMEWORK_NAMES, INFO_FILE, PLACEHOLDER
from finishline.errors import UserError
from finishline.frameworks import FRAMEWORKS
from finishline.submission import REFERENCE_SUBMISSIONS, SEARCH_SPACE_NAME

_TEMPLATE = REFERENCE_SUBMISSIONS / "template"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_INFO = """\
submission_name: {name}
version: "0.1"
authors: {authors}
license: Apache-2.0
ruleset: external
framework: {frameworks}
description: AdamW with linear decay.
"""

FLAGS = flags.FLAGS


def main(argv: list[str]) -> int:
    """Makes the submission that the command line names; returns 0."""
    frameworks = FRAMEWORKS if FLAGS.framework == "both" else (FLAGS.framework,)
    made = create(argv[0], frameworks, Path(FLAGS.dir).expanduser())
    print(
        f"{made} is ready. Fill in {made / INFO_FILE}, then:\n"
        f"  python submission_runner.py --framework={frameworks[0]} --workload=digits "
        f"--submission_path={made} --num_tuning_trials=1\n"
        f"  python -m finishline.check {made}"
    )
    return 0


def create(name: str, frameworks: Sequence[str], folder: Path) -> Path:
    """Makes the submission ``name`` in ``folder``, all of it or nothing; returns where it is.

    Raises:
      UserError: the name will not do, or there is something of that name.
    """
    if not _NAME.fullmatch(name) or name in FRAMEWORKS:
        raise UserError(
            f"A submission cannot be called {name!r}; use small letters, digits and '_', a letter "
            "first, and not the name of a framework."
        )
    target = folder / name
    if target.exists() or target.is_symlink():
        raise UserError(f"There is already {target}; choose another name or --dir.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder) as made:
            _fill(Path(made) / name, name, frameworks)
            (Path(made) / name).rename(target)
    except OSError as error:
        raise UserError(f"{target} cannot be made: {error}; choose another --dir.") from error
    return target


def _fill(folder: Path, name: str, frameworks: Sequence[str]) -> None:
    leave_out = shutil.ignore_patterns("__pycache__")
    for framework in frameworks:
        shutil.copytree(_TEMPLATE / framework, folder / framework, ignore=leave_out)
    shutil.copy(_TEMPLATE / SEARCH_SPACE_NAME, folder)
    named = ", ".join(FRAMEWORK_NAMES[framework] for framework in frameworks)
    info = _INFO.format(name=name, frameworks=named, authors=PLACEHOLDER)
    (folder / INFO_FILE).write_text(info)


if __name__ == "__main__":
    flags.DEFINE_enum("framework", None, [*FRAMEWORKS, "both"], "Framework.", required=True)
    flags.DEFINE_string("dir", "submissions", "Where to put the new folder.")
    commandline.run(main, argument="NAME")
