"""Import hooks of the worker: AlgoPerf's package, and the submission's own files by any name."""

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_API = "finishline.compat.algoperf"


class _Same(Loader):
    """Loads a module by handing out another that is there already."""

    def __init__(self, module: ModuleType):
        self._module = module
        self._spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # importlib has put the alias's there


class ApiFinder(MetaPathFinder):
    """AlgoPerf's packages, all as one: classes must be the same under both names.

    Args:
      names: the top-level names.
    """

    def __init__(self, names: Sequence[str]):
        self._names = frozenset(names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See ``importlib.abc.MetaPathFinder``."""
        root, dot, rest = fullname.partition(".")
        if root not in self._names:
            return None
        try:
            module = importlib.import_module(f"{_API}{dot}{rest}")
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith(_API):
                raise
            raise ModuleNotFoundError(
                f"{fullname} is not part of what is supplied of {root}; see docs/compatibility.md.",
                name=fullname,
            ) from None
        return ModuleSpec(fullname, _Same(module), is_package=hasattr(module, "__path__"))


class OwnFilesFinder(MetaPathFinder):
    """A submission's own files: each is one module, under however many names it is imported.

    Args:
      folder: the submission's folder.
      mounted: see ``tree.SourceTree``.
    """

    def __init__(self, folder: Path, mounted: Mapping[str, Path | None]):
        self._folder = folder
        self._mounted = mounted

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See ``importlib.abc.MetaPathFinder``."""
        file = self._mounted.get(fullname) or self._file(fullname, path)
        if file is not None and file.suffix == ".py":
            return _one_module(fullname, file)
        if fullname not in self._mounted:
            return None
        found = PathFinder.find_spec(fullname, path)
        if found is None:  # a package in name alone
            found = ModuleSpec(fullname, None, is_package=True)
            found.submodule_search_locations = [str(file)] if file else []
        return found

    def _file(self, fullname: str, path: Sequence[str] | None) -> Path | None:
        """The file of this name in the parent package, or in the submission's folder."""
        name = fullname.rpartition(".")[2]
        folders = [Path(entry) for entry in path or ()] if "." in fullname else [self._folder]
        for folder in folders:
            if not folder.is_relative_to(self._folder):
                continue
            for file in (folder / name / "__init__.py", folder / f"{name}.py"):
                if file.is_file():
                    return file
        return None


def _one_module(fullname: str, file: Path) -> ModuleSpec | None:
    for module in list(sys.modules.values()):
        if vars(module).get("__file__") == str(file):
            spec = ModuleSpec(fullname, _Same(module), is_package=file.name == "__init__.py")
            spec.submodule_search_locations = getattr(module, "__path__", None)
            return spec
    return spec_from_file_location(fullname, file)
