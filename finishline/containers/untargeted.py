"""The harness's sources without the values of the targets, for images that submissions run in.

What a target is measured on, and whether less is better, stays: submissions may ask for it. Its
value reads NaN there, which nothing meets; the referee, outside, decides by its own sources.
"""

import ast
import re
import tomllib

# The keywords of ``Target``, and the keys of finishline/benchmark/targets.toml.
_VALUES = ("validation", "test")
_TOML_VALUE = re.compile(rf"\b({'|'.join(_VALUES)})(\s*=\s*)[-+\d._einf]+")


def without_targets(name: str, source: bytes) -> bytes:
    """A file of the harness without the values of targets; most have none and stay as they are.

    Args:
      name: its name, which tells what it is.
      source: its content.
    """
    if name.endswith("targets.toml"):
        text = _TOML_VALUE.sub(r"\1\2nan", source.decode())
        tomllib.loads(text)
        return text.encode()
    if not name.endswith(".py") or b"Target(" not in source:
        return source
    lines = source.splitlines(keepends=True)
    # From the end on, so that the places of the others stay right.
    for value in sorted(_target_values(ast.parse(source)), key=_place, reverse=True):
        line = lines[value.lineno - 1]
        rest = line[value.end_col_offset :]
        lines[value.lineno - 1] = line[: value.col_offset] + b'float("nan")' + rest
    return b"".join(lines)


def _target_values(tree: ast.Module) -> list[ast.expr]:
    """The numbers that are given to ``Target`` as its values."""
    return [
        keyword.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        if call.func.id == "Target"
        for keyword in call.keywords
        if keyword.arg in _VALUES and isinstance(keyword.value, ast.Constant | ast.UnaryOp)
    ]


def _place(value: ast.expr) -> tuple[int, int]:
    return value.lineno, value.col_offset
