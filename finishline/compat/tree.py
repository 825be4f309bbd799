"""The files that a submission consists of, and the names under which they import each other.

A submission imports its own files in four ways: relatively; from its folder; from a folder around
it (``submissions.self_tuning.muon.helper``); or under a path at which they lay when it was
submitted, of which only the end is left (``submissions.v05.Team_16.caspr.helper``, or ``utils``
for what is ``shampoo/utils.py`` now). The first three Python can follow; for the last, ``mounted``
says what is meant.
"""

import ast
import dataclasses
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from finishline import signatures
from finishline.compat import source
from finishline.errors import UserError

# First parts of names under which the leaderboard's and the benchmark's repositories were mounted.
_MOUNTS = frozenset(
    {
        "submissions",
        "submissions_algorithms",
        "algorithms",
        "reference_algorithms",
        "prize_qualification_baselines",
        "target_setting_algorithms",
    }
)


@dataclasses.dataclass(frozen=True)
class Foreign:
    """An import that leads out of the submission.

    Attributes:
      path: the file that imports.
      statement: the import.
      is_certain: whether loading the submission is sure to run it.
    """

    path: Path
    statement: source.Import
    is_certain: bool


class SourceTree:
    """The submission's file and all of its own files that it imports, parsed.

    Attributes:
      files: syntax tree by path; the submission's file comes first.
      certain: those that are imported whenever the submission is.
      foreign: the imports of anything else.
      mounted: by dotted name, the file or folder that an import means which Python cannot follow;
        None for a package that exists in name alone.

    Raises:
      UserError: a file is not valid Python.
    """

    def __init__(self, path: Path):
        self.folder = path.parent
        self.files: dict[Path, ast.Module] = {}
        self.certain: set[Path] = set()
        self.foreign: list[Foreign] = []
        self.mounted: dict[str, Path | None] = {}
        self._inner_folders: list[Path] | None = None
        package = path.with_name("__init__.py")
        open_ends = [(path, True), *([(package, True)] if package.is_file() else [])]
        while open_ends:
            file, is_certain = open_ends.pop(0)
            if file in self.files and (file in self.certain or not is_certain):
                continue
            if is_certain:
                self.certain.add(file)
            self.files.setdefault(file, signatures.parse(file))
            open_ends += self._follow(file, is_certain)

    def _follow(self, file: Path, is_certain: bool) -> Iterator[tuple[Path, bool]]:
        for statement in source.imports(self.files[file]):
            own = list(self._own_files(file, statement))
            is_run = is_certain and statement.is_certain
            yield from ((path, is_run) for path in own)
            if not own and statement.level == 0:
                self.foreign.append(Foreign(file, statement, is_run))

    def _own_files(self, file: Path, statement: source.Import) -> Iterator[Path]:
        """What of the submission a statement imports: the module, and the member if it is one."""
        parts = statement.module.split(".") if statement.module else []
        if statement.level:
            base = file.parents[statement.level - 1]
            yield from _packages(base, parts, statement.member)
            return
        for base in (self.folder, *self._roots(parts[0])):
            if _locate(base.joinpath(*parts)):
                yield from _packages(base, parts, statement.member)
                return
        if not _is_installed(parts[0]):
            yield from self._mount(parts, statement.member)

    def _roots(self, first: str) -> list[Path]:
        return [folder.parent for folder in self.folder.parents if folder.name == first] + (
            [self.folder.parent] if self.folder.name == first else []
        )

    def _mount(self, parts: list[str], member: str | None) -> Iterator[Path]:
        longest = [*parts, member] if member and member != "*" else parts
        for names in (longest, parts):
            found = self._find_end(names)
            if found is None:
                continue
            base, dropped = found
            self._note_mount(names, base, dropped)
            yield from _packages(base, names[dropped:], None)
            return

    def _find_end(self, names: Sequence[str]) -> tuple[Path, int] | None:
        """(Folder, number of names to drop) where the most names at the end lead to a file."""
        own = {*_MOUNTS, *(folder.name for folder in (self.folder, *self.folder.parents[:3]))}
        for dropped in range(len(names)):
            if dropped and names[0] not in own:
                return None
            for base in self._folders():
                if _locate(base.joinpath(*names[dropped:])):
                    return base, dropped
        return None

    def _note_mount(self, names: Sequence[str], base: Path, dropped: int) -> None:
        for length in range(1, len(names) + 1):
            name = ".".join(names[:length])
            if length > dropped:
                self.mounted[name] = _locate(base.joinpath(*names[dropped:length]))
            else:
                self.mounted.setdefault(name, base if length == dropped else None)

    def _folders(self) -> list[Path]:
        """The submission's folder and those in it, the outer ones first."""
        if self._inner_folders is None:
            files = self.folder.rglob("*.py")
            parents = {folder for path in files for folder in path.parents}
            inner = {folder for folder in parents if folder.is_relative_to(self.folder)}
            self._inner_folders = sorted(inner, key=lambda path: (len(path.parts), path))
        return self._inner_folders


def _packages(base: Path, parts: Sequence[str], member: str | None) -> Iterator[Path]:
    """The files that importing ``parts`` from ``base`` runs, with ``member`` if it is a module."""
    names = [*parts, *([member] if member and member != "*" else [])]
    for length in range(1, len(names) + 1):
        found = _locate(base.joinpath(*names[:length]))
        if found is not None and found.suffix == ".py":
            yield found


def _locate(path: Path) -> Path | None:
    """The file or folder that the module at ``path`` (without suffix) consists of."""
    if (path / "__init__.py").is_file():
        return path / "__init__.py"
    if path.with_name(f"{path.name}.py").is_file():
        return path.with_name(f"{path.name}.py")
    return path if path.is_dir() and any(path.glob("**/*.py")) else None


def _is_installed(name: str) -> bool:
    """Whether Python finds a package of this name without the submission's help."""
    if name in sys.modules or name in sys.stdlib_module_names:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def missing_package(foreign: Foreign) -> UserError | None:
    """The complaint about an import of a package that is not installed."""
    name = foreign.statement.module.split(".")[0]
    if _is_installed(name):
        return None
    distribution = _DISTRIBUTIONS.get(name, name)
    return UserError(
        f"{foreign.path}:{foreign.statement.line} imports {foreign.statement.module}, which is not "
        f"installed; run `pip install -c constraints.txt {distribution}`, or put it beside "
        "the submission."
    )


# Packages that are installed under another name.
_DISTRIBUTIONS = {
    "absl": "absl-py",
    "gin": "gin-config",
    "haiku": "dm-haiku",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "learned_optimization": "git+https://github.com/google/learned_optimization",
}
