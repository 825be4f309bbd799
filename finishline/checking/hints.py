"""Hints for the reviewer: places in the source that can be innocent or not.

They come from the syntax tree alone, so they are neither complete nor a verdict: who wants to hide
something will. What submissions cannot do at all is in ``docs/attacks.md``.
"""

import ast
import functools
from collections.abc import Iterable, Iterator
from typing import TypeGuard

from finishline import signatures
from finishline.benchmark import targets
from finishline.checking import hint_rules
from finishline.checking.folder import Folder
from finishline.checking.names import Names
from finishline.checking.report import Finding, Level, Section, in_order
from finishline.errors import UserError
from finishline.workload import all_workloads

MAX_TEXT = 2_000  # characters of a literal text
MAX_ITEMS = 100  # numbers and texts in a literal list, tuple, set or dict
MAX_LOGGED = 100  # up to here a number of steps may concern the log, and hardly a schedule

_SETTERS = ("setattr", "delattr")
_Place = tuple[int, str]  # line, sentence


def check_source(folder: Folder) -> Section:
    """All hints on the Python files of the folder."""
    found = []
    sources = list(folder.sources())
    for path in sources:
        try:
            tree = signatures.parse(path)
        except UserError:
            continue  # said under API
        name = folder.relative(path)
        try:
            found += [Finding(Level.HINT, text, name, line) for line, text in _hints(tree)]
        except RecursionError:
            found.append(Finding(Level.HINT, "is nested too deeply to be searched.", name))
    summary = f"{len(sources)} Python files; hints are for the reviewer and fail nothing"
    return Section("source", summary, in_order(found))


def _hints(tree: ast.Module) -> Iterator[_Place]:
    names = Names(tree)
    nodes = list(ast.walk(tree))
    in_batch_size = _inside_get_batch_size(tree)
    yield from _named(nodes, names)
    yield from _replaced(nodes, names)
    yield from _workload_names(nodes, in_batch_size)
    yield from _told_apart(nodes)
    yield from _kept(in_batch_size)
    yield from _step_counts(nodes)
    yield from _large_literals(tree)


def _inside_get_batch_size(tree: ast.Module) -> list[ast.AST]:
    """The nodes of get_batch_size, and of module-level tables that nothing else reads."""
    functions = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and node.name in ("get_batch_size", "get_eval_batch_size")
    ]
    inside = [child for function in functions for child in ast.walk(function)]
    ids = set(map(id, inside))
    there: set[str] = set()
    elsewhere: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            (there if id(node) in ids else elsewhere).add(node.id)
    for node in tree.body:
        if _is_table(node) and (there - elsewhere).issuperset(_targets(node)):
            inside += ast.walk(node)
    return inside


def _is_table(node: ast.AST) -> TypeGuard[ast.Assign]:
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)


def _targets(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _named(nodes: Iterable[ast.AST], names: Names) -> Iterator[_Place]:
    """Modules, functions and attributes that have a rule."""
    nodes = list(nodes)
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in names.imported(node):
                if told := hint_rules.match(name):
                    yield node.lineno, told
        elif isinstance(node, ast.Name | ast.Attribute) and id(node) not in inner:
            yield from _used(node, names)
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _used(node: ast.Name | ast.Attribute, names: Names) -> Iterator[_Place]:
    name, root = names.of(node), names.import_of(node)
    # An import that has a rule of its own is told where it stands.
    if name and root and not hint_rules.match(root) and (told := hint_rules.match(name)):
        yield node.lineno, told
    elif name and name in hint_rules.GLOBALS:
        yield node.lineno, f"`{name}` {hint_rules.GLOBALS[name]}"


def _called(node: ast.Call) -> Iterator[_Place]:
    function = node.func
    if isinstance(function, ast.Name) and (why := hint_rules.BUILTINS.get(function.id)):
        yield node.lineno, f"`{function.id}` {why}"
    if isinstance(function, ast.Attribute) and (why := hint_rules.METHODS.get(function.attr)):
        yield node.lineno, f"`.{function.attr}` {why}"


def _replaced(nodes: Iterable[ast.AST], names: Names) -> Iterator[_Place]:
    """Attributes of modules and of the workload that are set or deleted."""
    for node in nodes:
        target: ast.expr | None = None
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            target = node
        elif isinstance(node, ast.Call) and node.args and names.of(node.func) in _SETTERS:
            target = node.args[0]
        if target is None or not (name := names.of(target)):
            continue
        root = names.import_of(target)
        if root and root.split(".")[0] in hint_rules.WATCHED_MODULES:
            if not hint_rules.match(name):
                why = "what is replaced there acts on the harness as well."
                yield target.lineno, f"`{name}` is set: {why}"
        elif name.split(".")[0] == "workload":
            yield target.lineno, f"`{name}` is set: a submission does not change its workload."


def _workload_names(nodes: Iterable[ast.AST], in_batch_size: list[ast.AST]) -> Iterator[_Place]:
    allowed = set(map(id, in_batch_size))
    for node in nodes:
        if not isinstance(node, ast.Constant) or id(node) in allowed:
            continue
        if isinstance(node.value, str) and _is_workload(node.value):
            yield (
                node.lineno,
                f"{node.value!r} names a workload outside of get_batch_size: nothing but the batch "
                "size may be chosen by the workload.",
            )


def _told_apart(nodes: Iterable[ast.AST]) -> Iterator[_Place]:
    """Where the workload could be recognised without its name."""
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            subject = node.args[0] if node.args else None
            if node.func.id in ("type", "isinstance", "dir", "vars") and _is_name(subject):
                yield (
                    node.lineno,
                    f"`{node.func.id}(workload)` can tell workloads apart.",
                )
        elif isinstance(node, ast.Attribute) and _is_name(node.value) and node.attr[0] == "_":
            yield node.lineno, f"`workload.{node.attr}` is not part of the API."
        elif isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            for operand in operands:
                if _is_telling(operand) and any(isinstance(o, ast.Constant) for o in operands):
                    yield (
                        node.lineno,
                        f"`{ast.unparse(operand)}` is compared with a constant, which can tell "
                        "workloads apart.",
                    )


def _is_name(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Name) and node.id == "workload"


def _is_telling(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and _is_name(node.value)
        and node.attr in hint_rules.TELLING_ATTRIBUTES
    )


def _kept(in_batch_size: Iterable[ast.AST]) -> Iterator[_Place]:
    """What get_batch_size could keep for the other functions."""
    for node in in_batch_size:
        is_set = isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store)
        if isinstance(node, ast.Global) or is_set:
            yield (
                node.lineno,  # type: ignore[attr-defined]
                "get_batch_size keeps something: the other functions must not learn the "
                "workload's name from it.",
            )


def _step_counts(nodes: Iterable[ast.AST]) -> Iterator[_Place]:
    why = "is a number of steps that does not come from workload.step_hint: fitted to a workload?"
    for node in nodes:
        if isinstance(node, ast.keyword) and node.arg in hint_rules.STEP_KEYWORDS:
            if _is_count(node.value):
                yield node.value.lineno, f"`{node.arg}={ast.unparse(node.value)}` {why}"
        elif isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            if any(isinstance(o, ast.Name) and o.id == "global_step" for o in operands) and any(
                map(_is_count, operands)
            ):
                yield node.lineno, f"`{ast.unparse(node)}` {why}"
        elif isinstance(node, ast.Assign) and _is_count(node.value):
            for name in _targets(node):
                if name.lower().endswith(("_steps", "step_hint")):
                    yield node.lineno, f"`{ast.unparse(node)}` {why}"


def _is_count(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value > MAX_LOGGED


def _large_literals(tree: ast.Module) -> Iterator[_Place]:
    """From the outside in; what lies in a literal that was told is not told again."""
    to_see: list[ast.AST] = [tree]
    while to_see:
        node = to_see.pop()
        what: str | None = None
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            what = f"{len(node.value):,} characters" if len(node.value) > MAX_TEXT else None
        elif isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
            count = sum(isinstance(child, ast.Constant) for child in ast.walk(node))
            what = f"{count:,} values" if count > MAX_ITEMS else None
        if what:
            yield node.lineno, f"A literal of {what}: where do they come from?"  # type: ignore[attr-defined]
        elif not _is_docstring(node):
            to_see += ast.iter_child_nodes(node)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_workload(text: str) -> bool:
    """Whether ``text`` is the name of a workload, a variant, or the beginning of one."""
    if text.split("_")[0] not in _first_words():
        return False
    return any(name.startswith(text) or text.startswith(name) for name in _all_names())


@functools.cache
def _all_names() -> frozenset[str]:
    return frozenset({*targets(), *all_workloads()})


@functools.cache
def _first_words() -> frozenset[str]:
    return frozenset(name.split("_")[0] for name in _all_names())
