"""The static check of a submission's source against the API in ``finishline.spec``.

It works on the syntax tree: nothing of the submission is run and no framework is imported.
"""

import ast
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from finishline import spec
from finishline.errors import UserError

# Importing one of these tells which framework a file is written for.
_FRAMEWORK_PACKAGES = {
    "jax": frozenset({"jax", "flax", "optax"}),
    "pytorch": frozenset({"torch"}),
}


def parse(path: Path) -> ast.Module:
    """The syntax tree of a Python file.

    Raises:
      UserError: it is not valid Python; the message has file and line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes: not for us to complain of
            return ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise UserError(
            f"{path}:{error.lineno} is not valid Python ({error.msg}); correct it there."
        ) from None
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        told = str(error) or type(error).__name__
        raise UserError(f"The submission {path} cannot be read: {told}.") from None


def imported_packages(tree: ast.Module) -> set[str]:
    """Top-level names of all absolute imports anywhere in a file."""
    packages = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            packages.add(node.module.split(".")[0])
    return packages


def check_framework(path: Path, tree: ast.Module, framework: str) -> None:
    """Raises ``UserError`` if the file imports the other framework and not ``framework``."""
    imported = imported_packages(tree)
    if imported & _FRAMEWORK_PACKAGES[framework]:
        return
    for other, packages in _FRAMEWORK_PACKAGES.items():
        if imported & packages:
            raise UserError(
                f"{path} imports {min(imported & packages)} and is written for the other "
                f"framework; run it with --framework={other}."
            )


def check_functions(path: Path, tree: ast.Module) -> None:
    """Raises ``UserError`` if a function of the API is missing or has other arguments."""
    for fault in function_faults(path, tree):
        raise UserError(fault)


def function_faults(path: Path, tree: ast.Module) -> Iterator[str]:
    """A sentence for each function of the API that is missing or has other arguments."""
    definitions = dict(_definitions(tree.body))
    for name, arguments in spec.SIGNATURES.items():
        if name in definitions:
            node = definitions[name]
            if isinstance(node, ast.FunctionDef) and (fault := _argument_fault(node, arguments)):
                yield (f"{path}:{node.lineno}: {name} {fault}; define it as `{_usage(name)}`.")
        elif name not in spec.OPTIONAL_FUNCTIONS and "*" not in definitions:
            yield f"{path} does not define {name}; add `def {_usage(name)}`."


def _definitions(body: Sequence[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """The names that a module binds by def, assignment or import, also under if, try and with."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name, node) for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = (name for target in targets for name in ast.walk(target))
            yield from ((name.id, node) for name in names if isinstance(name, ast.Name))
        else:
            for part in ("body", "handlers", "orelse", "finalbody"):
                for child in getattr(node, part, []):
                    nested = child.body if isinstance(child, ast.ExceptHandler) else [child]
                    yield from _definitions(nested)


def _argument_fault(node: ast.FunctionDef, expected: Sequence[str]) -> str | None:
    """Positional arguments must be those of the API in its order; more need defaults."""
    args = node.args
    positional = [arg.arg for arg in (*args.posonlyargs, *args.args)]
    allowed = (*expected, *spec.OPTIONAL_ARGUMENTS.get(node.name, ()))
    required = positional[: len(positional) - len(args.defaults)]
    required += [
        arg.arg
        for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)
        if not default
    ]
    given = {*positional, *(arg.arg for arg in args.kwonlyargs)}
    missing = [name for name in expected if name not in given]
    unknown = [name for name in required if name not in allowed]
    in_order = [name for name in positional if name in expected]
    if missing and not (args.vararg or args.kwarg):
        return f"lacks the argument {missing[0]!r}"
    if unknown:
        return f"asks for the argument {unknown[0]!r}, which nobody gives it"
    if positional[: len(in_order)] != [name for name in expected if name in in_order]:
        return "has its arguments in another order"
    return None


def _usage(function: str) -> str:
    return f"{function}({', '.join(spec.SIGNATURES[function])})"
