"""What a submission's source shows to be missing: packages, and names of libraries.

Only what is sure to be run is complained of: an import or a name under a condition, or in a
function that may never be called, may be meant for other machines.
"""

import ast
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from finishline import spec
from finishline.compat import source
from finishline.compat.plan import API_PACKAGES
from finishline.compat.tree import Foreign, SourceTree, missing_package
from finishline.errors import SubmissionError, UserError

_API_FOLDER = Path(__file__).parent / "algoperf"
_LIBRARIES = frozenset({"jax", "flax", "optax", "chex", "torch", "numpy"})
_SURELY_CALLED = frozenset(spec.SIGNATURES.keys() - spec.OPTIONAL_FUNCTIONS)


def check_sources(path: Path, *, is_on: bool, checks_packages: bool = True) -> None:
    """Checks all files of the submission at ``path``.

    Args:
      path: the submission's file.
      is_on: whether the compatibility layer will be there.
      checks_packages: whether the packages of this Python are those that the submission will have.

    Raises:
      UserError: a file is not valid Python, imports a package that is not installed, or names
        something of AlgoPerf's package that is not supplied; the message has file and line.
    """
    tree = SourceTree(path)
    for foreign in tree.foreign:
        root = foreign.statement.module.split(".")[0]
        if not foreign.is_certain:
            continue
        if root in API_PACKAGES and not is_on:
            raise UserError(
                f"{foreign.path}:{foreign.statement.line} imports {root}, which the compatibility "
                "layer supplies; leave out --nocompat."
            )
        if root in API_PACKAGES:
            _check_api(foreign.path, foreign.statement.line, _full_name(foreign))
        elif checks_packages and (fault := missing_package(foreign)):
            raise fault
    for file, line, name in _library_names(tree):
        if is_on and name.split(".")[0] in API_PACKAGES:
            _check_api(file, line, name)


def check_libraries(tree: SourceTree) -> None:
    """Checks the names of libraries against the modules that are loaded.

    Raises:
      SubmissionError: the submission will surely use a name that is not there; the message has
        file and line.
    """
    for file, line, name in _library_names(tree):
        if name.split(".")[0] in _LIBRARIES and (missing := _missing_part(name)):
            module, attribute = missing
            near = difflib.get_close_matches(attribute, dir(module), n=1)
            remedy = f"did you mean {near[0]}?" if near else "it may be of another version."
            raise SubmissionError(
                f"{file}:{line} uses {name}, but {module.__name__} "
                f"{_version(module)}has no {attribute!r}; {remedy}"
            )


def _full_name(foreign: Foreign) -> str:
    return ".".join(filter(None, [foreign.statement.module, foreign.statement.member]))


def _check_api(file: Path, line: int, name: str) -> None:
    root, *parts = name.split(".")
    modules = {path.stem: path for path in _API_FOLDER.glob("[a-z]*.py")}
    if not parts or parts[0] == "*":
        return
    known, which = sorted(modules), root
    missing = parts[0] if parts[0] not in modules else None
    if missing is None and len(parts) > 1 and parts[1] != "*":
        known = sorted(source.bound_names(ast.parse(modules[parts[0]].read_bytes())))
        which = f"{root}.{parts[0]}"
        missing = parts[1] if parts[1] not in known else None
    if missing:
        near = difflib.get_close_matches(missing, known, n=1)
        remedy = f"did you mean {near[0]}?" if near else "docs/compatibility.md says what there is."
        raise UserError(
            f"{file}:{line} uses {name}, but {missing!r} is not part of what is supplied of "
            f"{which}; {remedy}"
        )


def _library_names(tree: SourceTree) -> Iterator[tuple[Path, int, str]]:
    """(File, line, name) of what is sure to be evaluated."""
    first = next(iter(tree.files))
    for path in tree.files:
        if path in tree.certain:
            entry_points = _SURELY_CALLED if path == first else frozenset()
            for use in source.uses(tree.files[path], entry_points):
                if use.is_certain:
                    yield path, use.line, use.name


def _missing_part(name: str) -> tuple[ModuleType, str] | None:
    """The loaded module that lacks the next part of ``name``, if it comes to that."""
    root, *parts = name.split(".")
    value = sys.modules.get(root)
    for part in parts:
        if not isinstance(value, ModuleType):
            return None
        if not hasattr(value, part):
            is_module = f"{value.__name__}.{part}" in sys.modules
            return None if is_module else (value, part)
        value = getattr(value, part)
    return None


def _version(module: ModuleType) -> str:
    root = sys.modules[module.__name__.split(".")[0]]
    version = getattr(root, "__version__", None)
    return f"({root.__name__} {version}) " if version else ""
