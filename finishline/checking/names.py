"""What the names in a file stand for."""

import ast
from collections.abc import Iterator


class Names:
    """Dotted names of expressions, with imports resolved.

    After ``import numpy as np``, ``np.random.seed`` stands for ``numpy.random.seed``.
    """

    def __init__(self, tree: ast.Module):
        self._imports: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    # `import a.b` binds a, `import a.b as c` binds c to a.b.
                    full = alias.name if alias.asname else alias.name.split(".")[0]
                    self._imports[alias.asname or full] = full
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    self._imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    @staticmethod
    def imported(node: ast.AST) -> Iterator[str]:
        """What an import statement imports; nothing for other nodes and relative imports."""
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def of(self, node: ast.AST) -> str | None:
        """The dotted name of an expression like ``a.b.c`` or ``a``; None for others."""
        root, attributes = _chain(node)
        if root is None:
            return None
        return ".".join([self._imports.get(root, root), *attributes])

    def import_of(self, node: ast.AST) -> str | None:
        """What the first name of the expression was imported as; None if it was not imported."""
        root, _ = _chain(node)
        return self._imports.get(root) if root is not None else None


def _chain(node: ast.AST) -> tuple[str | None, list[str]]:
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    return (node.id if isinstance(node, ast.Name) else None), attributes
