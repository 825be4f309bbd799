"""Reading Python source: what a file imports, which library names it uses, and what surely runs."""

import ast
import dataclasses
from collections.abc import Iterable, Iterator, Sequence

_LEAVING = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Import:
    """One ``import module`` or ``from module import member``.

    Attributes:
      module: the dotted name; for a relative import, that part of it which is written.
      member: what is taken from it, or None.
      level: how many dots a relative import has.
      line: where it is.
      is_certain: whether it is run whenever the file is imported, and may not fail.
    """

    module: str
    member: str | None
    level: int
    line: int
    is_certain: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Use:
    """A name of a library where a file uses it.

    Attributes:
      name: in full, such as 'jax.numpy.clip'.
      keywords: of the call, if it is called.
      line: where it is.
      is_certain: whether it is evaluated before or in the first steps of training, whatever the
        conditions, so that a missing name is sure to end the training.
    """

    name: str
    keywords: frozenset[str]
    line: int
    is_certain: bool


def imports(tree: ast.Module) -> Iterator[Import]:
    """All imports of a file, those inside of functions too."""
    certain = {id(node) for node in _certain_nodes(tree.body)}
    for node in ast.walk(tree):
        is_certain = id(node) in certain
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(
                    module=alias.name,
                    member=None,
                    level=0,
                    line=node.lineno,
                    is_certain=is_certain,
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(
                    module=node.module or "",
                    member=alias.name,
                    level=node.level,
                    line=node.lineno,
                    is_certain=is_certain,
                )


def uses(tree: ast.Module, entry_points: Iterable[str]) -> Iterator[Use]:
    """The names of imported modules that a file uses; each as long as it can be followed.

    Args:
      tree: the file.
      entry_points: the functions of the file that are sure to be called.
    """
    aliases = _aliases(tree)
    certain = {id(node) for node in _reached(tree, frozenset(entry_points))}
    rebound = _rebound_names(tree)
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute | ast.Name) or id(node) in inner:
            continue
        root, parts = _chain(node)
        if root in aliases:
            call = calls.get(id(node))
            yield Use(
                name=".".join([aliases[root], *parts]),
                keywords=frozenset(k.arg for k in call.keywords if k.arg) if call else frozenset(),
                line=node.lineno,
                is_certain=id(node) in certain and root not in rebound,
            )


def bound_names(tree: ast.Module) -> set[str]:
    """The names that a module binds at its top level, by whatever statement."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        else:
            names |= {n.id for n in ast.walk(node) if _is_store(n) and isinstance(n, ast.Name)}
    return names


def _aliases(tree: ast.Module) -> dict[str, str]:
    """The full dotted name behind each name that an absolute import binds."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                aliases[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return aliases


def _chain(node: ast.expr) -> tuple[str, list[str]]:
    """('a', ['b', 'c']) for ``a.b.c``; ('', ...) if it does not start with a name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return (node.id if isinstance(node, ast.Name) else ""), parts


def _is_store(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _rebound_names(tree: ast.Module) -> set[str]:
    """Names that are also variables or arguments somewhere in the file."""
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and _is_store(node)}
    return stored | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


def _reached(tree: ast.Module, entry_points: frozenset[str]) -> Iterator[ast.AST]:
    """What is evaluated when the module is imported and its entry points are called."""
    functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    open_ends = [tree.body, *(functions[n].body for n in sorted(entry_points) if n in functions)]
    done = set(entry_points)
    while open_ends:
        nodes = list(_certain_nodes(open_ends.pop(), _evaluates_annotations(tree)))
        yield from nodes
        for name in _called(nodes) - done:
            done.add(name)
            if name in functions:
                open_ends.append(functions[name].body)


def _called(nodes: Sequence[ast.AST]) -> set[str]:
    """Names that are called, or handed to a call such as ``jax.grad(loss_fn)``."""
    called = set()
    for node in nodes:
        if isinstance(node, ast.Call):
            called |= {arg.id for arg in [node.func, *node.args] if isinstance(arg, ast.Name)}
    return called


def _evaluates_annotations(tree: ast.Module) -> bool:
    return not any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )


def _certain_nodes(body: Sequence[ast.stmt], annotations: bool = True) -> Iterator[ast.AST]:
    """The nodes that are evaluated whenever the block is run from its start."""
    for statement in body:
        yield from _certain_parts(statement, annotations)
        if any(isinstance(node, _LEAVING) for node in _own_nodes(statement)):
            return


def _certain_parts(node: ast.stmt, annotations: bool) -> Iterator[ast.AST]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from _expressions([*node.decorator_list, *node.args.defaults])
        yield from _expressions([default for default in node.args.kw_defaults if default])
        if annotations:
            args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            yield from _expressions([arg.annotation for arg in args if arg.annotation])
            yield from _expressions([node.returns] if node.returns else [])
    elif isinstance(node, ast.ClassDef):
        yield from _expressions([*node.decorator_list, *node.bases])
        yield from _certain_nodes(node.body, annotations)
    elif isinstance(node, ast.If | ast.While):
        yield from _expressions([node.test])
    elif isinstance(node, ast.For | ast.AsyncFor):
        yield from _expressions([node.iter])
    elif isinstance(node, ast.With):
        contexts = list(_expressions([item.context_expr for item in node.items]))
        yield from contexts
        if not any(isinstance(n, ast.Attribute | ast.Name) and _is_suppress(n) for n in contexts):
            yield from _certain_nodes(node.body, annotations)
    elif isinstance(node, ast.Try):
        if not node.handlers:
            yield from _certain_nodes([*node.body, *node.finalbody], annotations)
    elif not isinstance(node, ast.Match | ast.TryStar):
        yield from _expressions([node])


def _is_suppress(node: ast.expr) -> bool:
    return _chain(node)[1][-1:] == ["suppress"] or _chain(node)[0] == "suppress"


def _expressions(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """The nodes and what is in them, without what is evaluated later or not always."""
    for node in nodes:
        yield node
        if isinstance(node, ast.Lambda):
            continue
        if isinstance(node, ast.IfExp):
            yield from _expressions([node.test])
        elif isinstance(node, ast.BoolOp):
            yield from _expressions(node.values[:1])
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            yield from _expressions([node.generators[0].iter])
        else:
            yield from _expressions(ast.iter_child_nodes(node))


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """A node and what is in it, without the bodies of functions."""
    yield node
    if not isinstance(node, _SCOPES):
        for child in ast.iter_child_nodes(node):
            yield from _own_nodes(child)


def strings(tree: ast.Module) -> Iterator[str]:
    """String constants, but those that are compared or chosen by a condition."""
    excluded: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare | ast.IfExp):
            excluded |= {id(child) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in excluded:
            yield from [node.value] if isinstance(node.value, str) else []
