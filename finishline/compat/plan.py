"""What a submission needs to run here that it would have had elsewhere, by its source alone."""

import ast
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from finishline.compat import jax_names, source
from finishline.compat.tree import SourceTree
from finishline.devices import count_gpus

# The names under which the API was published, before and after a change of name.
API_PACKAGES = ("algoperf", "algorithmic_efficiency")
PMAP_LAYOUT = "pmap layout"
DROPOUT_NAME = "dropout_rate"
DROPOUT = f"{DROPOUT_NAME} by hyperparameter"
CUDA = "cuda on the CPU"
MOUNTS = "mounted paths"
TENSORFLOW = "no TensorFlow"
_IS_CUDA = re.compile(r"cuda(:\d+)?")


@dataclasses.dataclass(frozen=True)
class Plan:
    """The shims of one submission.

    Attributes:
      shims: their names, as the record has them.
    """

    shims: tuple[str, ...] = ()

    @property
    def warnings(self) -> list[str]:
        """A sentence for each shim that a person should know of before trusting the result."""
        return [_WARNINGS[name] for name in self.shims if name in _WARNINGS]


_WARNINGS = {
    CUDA: "The submission asks for 'cuda' by name; without a GPU it gets the CPU instead.",
}


def make_plan(path: Path, framework: str, hyperparameters: Mapping[str, Any] | None) -> Plan:
    """The shims that a submission needs; reads files, runs nothing.

    Args:
      path: the submission's file.
      framework: 'jax' or 'pytorch'.
      hyperparameters: by name; None under self-tuning.

    Raises:
      UserError: a file of the submission is not valid Python.
    """
    tree = SourceTree(path)
    shims = list(_shims(tree, framework))
    if _has_api(tree) and DROPOUT_NAME in (hyperparameters or {}) and not _passes_dropout(tree):
        shims.append(DROPOUT)
    return Plan(tuple(shims))


def _roots(tree: SourceTree) -> set[str]:
    return {foreign.statement.module.split(".")[0] for foreign in tree.foreign}


def _has_api(tree: SourceTree) -> bool:
    return not _roots(tree).isdisjoint(API_PACKAGES)


def _shims(tree: SourceTree, framework: str) -> Iterator[str]:
    roots = _roots(tree)
    yield from (name for name in API_PACKAGES if name in roots)
    if tree.mounted:
        yield MOUNTS
    if framework == "jax":
        used = [use for file in tree.files.values() for use in source.uses(file, ())]
        used += [_as_use(foreign.statement) for foreign in tree.foreign]
        if any(use.name == "jax.pmap" for use in used):
            yield PMAP_LAYOUT
        yield from jax_names.needed(used, roots)
        if jax_names.OLD_PACKAGE in roots:
            yield TENSORFLOW
    elif _names_cuda(tree) and not count_gpus("pytorch"):
        yield CUDA


def _as_use(statement: source.Import) -> source.Use:
    """A ``from`` import as the use of what it imports."""
    name = ".".join(filter(None, [statement.module, statement.member]))
    return source.Use(name=name, keywords=frozenset(), line=statement.line, is_certain=False)


def _passes_dropout(tree: SourceTree) -> bool:
    """Whether the submission gives the model a rate itself, as AlgoPerf 0.6 lets it."""
    return any(
        isinstance(node, ast.keyword) and node.arg == DROPOUT_NAME
        for file in tree.files.values()
        for node in ast.walk(file)
    )


def _names_cuda(tree: SourceTree) -> bool:
    """Whether a device is named 'cuda', or asked for by a method ``.cuda()``."""
    return any(
        any(_IS_CUDA.fullmatch(text) for text in source.strings(file))
        or any(_calls_cuda(node) for node in ast.walk(file))
        for file in tree.files.values()
    )


def _calls_cuda(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("cuda", "current_device")
    )
