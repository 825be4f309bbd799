"""Which files are there, and whether they are what a reviewer can read."""

import dataclasses
import itertools
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from finishline.checking.folder import Folder
from finishline.checking.report import Finding, Level, Section, note, problem
from finishline.errors import UserError
from finishline.frameworks import FRAMEWORKS
from finishline.submission import find_submission

_COMPILED = frozenset({".so", ".pyc", ".pyd", ".o", ".a", ".dll", ".exe", ".pth"})
_PACKED = frozenset({".whl", ".egg", ".zip", ".tar", ".gz", ".bz2", ".xz", ".7z"})
_DATA = frozenset(
    {".npy", ".npz", ".pkl", ".pickle", ".pt", ".ckpt", ".safetensors", ".msgpack", ".h5", ".bin"}
)
_LEFT_OVER = frozenset(
    {".venv", "venv", ".idea", ".vscode", ".ipynb_checkpoints", "wandb", "experiments", ".DS_Store"}
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclasses.dataclass(frozen=True)
class Limits:
    """How large a submission may be.

    Attributes:
      file_bytes: bytes of one file.
      total_bytes: bytes of all.
      num_files: how many files.
    """

    file_bytes: int = 2**20
    total_bytes: int = 10 * 2**20
    num_files: int = 200

    def __str__(self) -> str:
        return (
            f"limits: {_size(self.file_bytes)} a file, {_size(self.total_bytes)} in all, "
            f"{self.num_files} files"
        )


def check_files(folder: Folder, limits: Limits) -> Section:
    """Looks for the submission's Python files, and at the size and kind of all files."""
    paths = list(itertools.islice(folder.paths(), limits.num_files + 1))
    total = sum(path.lstat().st_size for path in paths)
    findings = [*_unreadable(folder, paths, limits)]
    if len(paths) > limits.num_files:
        findings.append(problem(f"There are more than {limits.num_files} files; leave some out."))
    if total > limits.total_bytes:
        findings.append(
            problem(
                f"The files have {_size(total)} together, above {_size(limits.total_bytes)}; make "
                "them smaller."
            )
        )
    if not findings:  # else reading them may not end
        findings = [*_layout(folder), *_kinds(folder, paths)]
    return Section("files", f"{len(paths)} files, {_size(total)}; {limits}", tuple(findings))


def _unreadable(folder: Folder, paths: Sequence[Path], limits: Limits) -> Iterator[Finding]:
    for path in paths:
        name, status = folder.relative(path), path.lstat()
        if stat.S_ISLNK(status.st_mode):
            yield problem("is a symbolic link; put a copy of the file in its place.", name)
        elif not stat.S_ISREG(status.st_mode):
            yield problem("is neither a file nor a folder; remove it.", name)
        elif not os.access(path, os.R_OK):
            yield problem("cannot be read; change its permissions.", name)
        elif status.st_size > limits.file_bytes:
            yield problem(
                f"has {_size(status.st_size)}, above the {_size(limits.file_bytes)} that a file "
                "may have; make it smaller or leave it out.",
                name,
            )


def _layout(folder: Folder) -> Iterator[Finding]:
    if not folder.submissions:
        try:
            find_submission(folder.home, folder.frameworks[0])
        except UserError as error:
            yield problem(error)
    if not _NAME.fullmatch(folder.home.name):
        yield problem(
            f"The folder is called {folder.home.name!r}, which becomes part of paths and of the "
            "leaderboard; use letters, digits, '_', '-' and '.'."
        )
    own = [name for name in FRAMEWORKS if (folder.home / name / "submission.py").is_file()]
    if own and (folder.home / "submission.py").is_file():
        yield problem(
            f"lies beside {own[0]}/submission.py, so that it is not clear which of them is meant; "
            "remove one.",
            "submission.py",
        )


def _kinds(folder: Folder, paths: Sequence[Path]) -> Iterator[Finding]:
    left_over: set[str] = set()
    for path in paths:
        name = folder.relative(path)
        if found := _LEFT_OVER.intersection(Path(name).parts):
            left_over |= found
        elif path.suffix in _COMPILED | _PACKED:
            yield problem(
                "is compiled or packed, so that nobody can read it; submit the source instead.",
                name,
            )
        elif path.suffix in _DATA:
            yield Finding(Level.HINT, "holds data: a reviewer asks what they were fitted to.", name)
    yield from (
        note("does not belong to a submission; leave it out.", name) for name in sorted(left_over)
    )


def _size(num_bytes: int) -> str:
    for unit, factor in (("MiB", 2**20), ("KiB", 2**10)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes} bytes"
