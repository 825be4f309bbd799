"""Finding, checking and loading a submission.

Finding and checking read the submission's source and run none of it, so that mistakes show before
any framework is imported. Only ``load_submission``, which the worker calls on the clock, runs it.
"""

import contextlib
import dataclasses
import difflib
import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
import types
from collections.abc import Iterable, Iterator
from pathlib import Path

from finishline import signatures
from finishline.errors import UserError
from finishline.frameworks import FRAMEWORKS

_SOURCE_SUFFIXES = (".py", ".json", ".so", ".pyc", ".pth")
# Names the folder with the packages of the submission's requirements.txt, in its container.
PACKAGES_VARIABLE = "FINISHLINE_SUBMISSION_PACKAGES"
SEARCH_SPACE_NAME = "tuning_search_space.json"
REFERENCE_SUBMISSIONS = Path(__file__).resolve().parent.parent / "reference_submissions"


@dataclasses.dataclass(frozen=True)
class SubmissionFile:
    """A submission on disk.

    Attributes:
      path: the absolute path of the Python file.
      name: the name in records and on the leaderboard, ``<algorithm>_<framework>``.
      framework: 'jax' or 'pytorch'.
      search_space_path: the ``tuning_search_space.json`` beside the file or one folder up, if any.
      source_hash: SHA-256 of the submission's sources and search space, hexadecimal.
    """

    path: Path
    name: str
    framework: str
    search_space_path: Path | None
    source_hash: str


def find_submission(path: str | Path, framework: str) -> SubmissionFile:
    """The submission at ``path``.

    Args:
      path: the Python file, or a folder with ``submission.py`` or ``<framework>/submission.py``.
      framework: 'jax' or 'pytorch'.

    Raises:
      UserError: there is no such framework or no submission there.
    """
    if framework not in FRAMEWORKS:
        near = _nearest(framework, FRAMEWORKS) or FRAMEWORKS
        raise UserError(f"There is no framework {framework!r}; use {' or '.join(near)}.")
    file = _find_file(Path(path).absolute(), framework)
    nearby = (file.parent / SEARCH_SPACE_NAME, file.parent.parent / SEARCH_SPACE_NAME)
    search_space_path = next((found for found in nearby if found.is_file()), None)
    return SubmissionFile(
        path=file,
        name=_name(file, framework),
        framework=framework,
        search_space_path=search_space_path,
        source_hash=_source_hash(file, search_space_path),
    )


def is_submission_folder(path: Path) -> bool:
    """Whether the folder ``path`` holds the file of a submission where it is looked for."""
    names = ["submission.py", *(f"{framework}/submission.py" for framework in FRAMEWORKS)]
    return any((path / name).is_file() for name in names)


def is_written_for(path: Path, framework: str) -> bool:
    """Whether the submission at ``path`` has a file for ``framework``.

    A file that stands for both by its place is judged by what it imports.
    """
    try:
        file = _find_file(path.absolute(), framework)
        if file.parent.name in FRAMEWORKS:
            return file.parent.name == framework
        signatures.check_framework(file, signatures.parse(file), framework)
    except UserError:
        return False
    return True


def check_submission(file: SubmissionFile) -> None:
    """Checks the source for what would fail later: syntax, functions, signatures, framework.

    Raises:
      UserError: the first fault found.
    """
    tree = signatures.parse(file.path)
    signatures.check_framework(file.path, tree, file.framework)
    signatures.check_functions(file.path, tree)


def load_submission(path: str | Path) -> types.ModuleType:
    """Imports the submission at ``path``; whatever its code raises is passed on.

    With ``__init__.py`` beside it, its folder is imported as a package, so that relative imports
    work. Its folder comes first on ``sys.path``. If it or a helper imports from a package of the
    name of a folder that it lies in (``from submissions.self_tuning.muon import ...``), the folder
    around that one comes last on ``sys.path``; after it comes the folder that
    ``FINISHLINE_SUBMISSION_PACKAGES`` names.
    """
    path = Path(path).absolute()
    sys.path.insert(0, str(path.parent))
    sys.path.extend(_import_roots(path))
    if packages := os.environ.get(PACKAGES_VARIABLE):
        sys.path.append(packages)
    # A name of its own: a folder called `jax` must not be taken for the framework.
    name = f"submission_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    package = path.parent / "__init__.py"
    if not package.is_file():
        return _import_file(name, path)
    _import_file(name, package)
    return importlib.import_module(f"{name}.{path.stem}")


def own_traceback(error: BaseException, path: str | Path) -> str:
    """The traceback of ``error`` from the submission's first frame on; all of it if it has none.

    Args:
      error: what was raised.
      path: the submission's file; frames of all files in its folder count as its own.
    """
    folder = Path(path).absolute().parent
    frames = error.__traceback__
    while frames is not None:
        if Path(frames.tb_frame.f_code.co_filename).is_relative_to(folder):
            break
        frames = frames.tb_next
    return "".join(
        traceback.format_exception(type(error), error, frames or error.__traceback__)
    ).rstrip()


def has_own_frames(error: BaseException, path: str | Path) -> bool:
    """Whether ``error`` passed through a file in the folder of the submission at ``path``."""
    folder = Path(path).absolute().parent
    return any(
        Path(frame.f_code.co_filename).is_relative_to(folder)
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def _find_file(path: Path, framework: str) -> Path:
    if path.is_dir():
        for name in ("submission.py", f"{framework}/submission.py"):
            if (path / name).is_file():
                return path / name
        others = [other for other in FRAMEWORKS if (path / other / "submission.py").is_file()]
        remedy = f"use --framework={others[0]}" if others else "give the path of its Python file"
        raise UserError(
            f"The folder {path} has neither submission.py nor {framework}/submission.py; {remedy}."
        )
    if not path.is_file():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = _nearest(path.name, siblings)
        remedy = f"did you mean {', '.join(near)}?" if near else "check the path."
        raise UserError(f"There is no submission {path}; {remedy}")
    if path.suffix != ".py":
        raise UserError(f"The submission {path} is not a Python file; its name must end in .py.")
    return path


def _name(file: Path, framework: str) -> str:
    """The algorithm is named by its folder, or by its file if that is not ``submission.py``."""
    if file.stem != "submission":
        name = file.stem
    elif file.parent.name in FRAMEWORKS:
        name = file.parent.parent.name
    else:
        name = file.parent.name
    return name if name.endswith(f"_{framework}") else f"{name}_{framework}"


def _source_files(folder: Path) -> Iterator[Path]:
    """Code and .json files of ``folder`` and of its subfolders with Python files."""
    for parent, subfolders, names in os.walk(folder):
        if Path(parent) != folder and not any(name.endswith(".py") for name in names):
            subfolders.clear()
            continue
        subfolders[:] = [name for name in subfolders if name.isidentifier()]
        yield from (Path(parent, name) for name in names if name.endswith(_SOURCE_SUFFIXES))


def _source_hash(file: Path, search_space_path: Path | None) -> str:
    files = {*_source_files(file.parent), *([search_space_path] if search_space_path else [])}
    names = {os.path.relpath(path, file.parent): path for path in files}
    digest = hashlib.sha256()
    for name, path in sorted(names.items()):
        content = path.read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _import_roots(path: Path) -> list[str]:
    """Folders to import from so that absolute imports of the submission's own folders work."""
    imported = set()
    for source in _source_files(path.parent):
        with contextlib.suppress(UserError):  # a file that does not parse cannot be imported either
            if source.suffix == ".py":
                imported |= signatures.imported_packages(signatures.parse(source))
    own = imported - set(FRAMEWORKS)
    return [str(folder.parent) for folder in path.parents if folder.name in own]


def _import_file(name: str, path: Path) -> types.ModuleType:
    """Imports ``path`` as the module ``name``; as a package if it is an ``__init__.py``."""
    locations = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=locations)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look modules up there
    # From the source that was checked and hashed: a file in __pycache__ may hold other code.
    exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    return module


def _nearest(name: str, candidates: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name, list(candidates), n=3)
