"""The folder that a competitor submits."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from finishline.errors import UserError
from finishline.frameworks import FRAMEWORKS
from finishline.submission import SubmissionFile, find_submission, is_written_for

INFO_FILE = "submission_info.yml"
FRAMEWORK_NAMES = {"jax": "JAX", "pytorch": "PyTorch"}  # as they stand in it
PLACEHOLDER = "Your names here"  # the authors of a submission that has just been made
_NOT_SUBMITTED = frozenset({"__pycache__", ".git"})


@dataclasses.dataclass(frozen=True)
class Folder:
    """A submission's folder, with one Python file for all frameworks or one for each.

    Attributes:
      home: the absolute path.
      frameworks: those to look at.
    """

    home: Path
    frameworks: tuple[str, ...]

    @classmethod
    def open(cls, path: str | Path, framework: str | None = None) -> "Folder":
        """The folder at ``path``, or the one around it if ``path`` is a file or a framework's part.

        Args:
          path: what the command line says.
          framework: the one to look at; None is all that the submission is written for.

        Raises:
          UserError: there is no such folder.
        """
        home = Path(os.path.abspath(Path(path).expanduser()))
        if not home.exists():
            raise UserError(f"There is no submission {path}; check the path.")
        if home.is_file():
            home = home.parent
        if home.name in FRAMEWORKS and (home / "submission.py").is_file():
            return cls(home.parent, (framework or home.name,))
        return cls(home, (framework,) if framework else FRAMEWORKS)

    @functools.cached_property
    def submissions(self) -> Mapping[str, SubmissionFile]:
        """The Python file of each framework that there is one for."""
        wanted = [name for name in self.frameworks if is_written_for(self.home, name)]
        found = {}
        for framework in wanted or self.frameworks:  # what does not parse is written for none
            try:
                found[framework] = find_submission(self.home, framework)
            except UserError:
                continue
        return found

    @property
    def ruleset(self) -> str:
        """What the files say: 'external' with a search space, 'self' without."""
        spaces = (file.search_space_path for file in self.submissions.values())
        return "external" if any(spaces) else "self"

    def paths(self) -> Iterator[Path]:
        """All that is submitted but folders, in order; symbolic links are not followed."""
        for parent, folders, names in os.walk(self.home):
            links = [name for name in folders if Path(parent, name).is_symlink()]
            folders[:] = sorted(set(folders) - _NOT_SUBMITTED - set(links))
            yield from (Path(parent, name) for name in sorted([*names, *links]))

    def sources(self) -> Iterator[Path]:
        """The Python files in it."""
        return (path for path in self.paths() if path.suffix == ".py")

    def relative(self, path: Path) -> str:
        """``path`` as the report names it."""
        return os.path.relpath(path, self.home)

    def shorten(self, text: object) -> str:
        """``text`` with the paths in it relative to the folder."""
        return str(text).replace(f"{self.home}{os.sep}", "")
