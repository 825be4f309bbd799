"""Hyperparameter search spaces under external tuning: reading, checking and drawing points.

A search space is a JSON file in one of two forms::

    {"learning_rate": {"min": 1e-4, "max": 1e-2, "scaling": "log"},
     "beta1": {"feasible_points": [0.9, 0.95]}}

    [{"learning_rate": 1e-3, "beta1": 0.9}, {"learning_rate": 2e-3, "grad_clip": 1.0}]

Points of the first form are quasi-random (scrambled Halton); those of the second are drawn from the
list without replacement.
"""

import collections
import dataclasses
import difflib
import functools
import json
import keyword
import sys
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from finishline.errors import UserError

Point = dict[str, Any]

SCALINGS = ("linear", "log")
_RANGE_KEYS = ("min", "max", "scaling")
# How alike two names are if one is the other misspelt; beta1 and beta2 are less.
_MISSPELT = 0.82


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval of real numbers, uniform on a linear or on a logarithmic scale."""

    minimum: float
    maximum: float
    scaling: str

    def at(self, quantile: float) -> float:
        """The value at ``quantile`` in [0, 1) of the interval."""
        if self.scaling == "linear":
            value = self.minimum + quantile * (self.maximum - self.minimum)
        else:
            value = self.minimum * (self.maximum / self.minimum) ** quantile
        return min(max(value, self.minimum), self.maximum)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A finite set of equally likely values."""

    values: tuple[Any, ...]

    def at(self, quantile: float) -> Any:
        """The value at ``quantile`` in [0, 1) of the list."""
        return self.values[int(quantile * len(self.values))]


@dataclasses.dataclass(frozen=True)
class SearchSpace:
    """The hyperparameters that a submission asks to have tuned.

    Attributes:
      path: the file, named in errors.
      dimensions: by hyperparameter, in the file's order; None for a list of points.
      fixed_points: the points to choose from; None for ranges.
    """

    path: Path
    dimensions: dict[str, Range | Choice] | None = None
    fixed_points: tuple[Point, ...] | None = None

    @classmethod
    def load(cls, path: str | Path) -> "SearchSpace":
        """Reads and checks the search space in ``path``.

        Raises:
          UserError: the file cannot be read or does not describe a search space.
        """
        path = Path(path)
        content = _read_json(path)
        if not isinstance(content, dict | list):
            raise UserError(
                f"{path} holds {content!r}; a search space is an object of hyperparameters or a "
                "list of points."
            )
        if not content:
            raise UserError(f"{path} holds no hyperparameters; add some or remove the file.")
        if isinstance(content, list):
            return cls(path, fixed_points=_check_points(path, content))
        _check_names(path, content)
        return cls(
            path,
            dimensions={name: _parse_dimension(path, name, spec) for name, spec in content.items()},
        )

    def points(self, n: int, seed: int) -> list[Point]:
        """``n`` points to try; point ``k`` does not depend on ``n``.

        Raises:
          UserError: ``n`` exceeds the length of a list of points.
        """
        if self.fixed_points is not None:
            return self._draw_fixed(n, seed)
        from scipy.stats import qmc  # takes a second, and only the runner needs it

        assert self.dimensions is not None
        quantiles = qmc.Halton(len(self.dimensions), scramble=True, rng=seed).random(n)
        return [
            {
                name: dimension.at(float(quantile))
                for (name, dimension), quantile in zip(self.dimensions.items(), row, strict=True)
            }
            for row in quantiles
        ]

    def _draw_fixed(self, n: int, seed: int) -> list[Point]:
        assert self.fixed_points is not None
        if n > len(self.fixed_points):
            raise UserError(
                f"{self.path} lists {len(self.fixed_points)} points, fewer than the {n} trials "
                "asked for; add points or run fewer trials."
            )
        order = np.random.default_rng(seed).permutation(len(self.fixed_points))
        return [dict(self.fixed_points[i]) for i in order[:n]]


def to_hyperparameters(point: Point | None) -> Any:
    """``point`` as the named tuple that submissions get; None (self-tuning) stays None."""
    if point is None:
        return None
    return _hyperparameters_type(tuple(point))(**point)


@functools.cache
def _hyperparameters_type(names: tuple[str, ...]) -> Any:
    return collections.namedtuple("Hyperparameters", names)


def _read_json(path: Path) -> Any:
    """The content of a JSON file in which no object has a key twice."""

    def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for name, count in collections.Counter(name for name, _ in pairs).items():
            if count > 1:
                raise UserError(f"{path} has {name!r} {count} times in one object; keep one.")
        return dict(pairs)

    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except FileNotFoundError:
        raise UserError(f"There is no search space {path}; check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The search space {path} cannot be read: {error}.") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno}, column {error.colno} is not valid JSON ({error.msg}); "
            "correct it there."
        ) from None


def _check_names(path: Path, names: Iterable[str]) -> None:
    """Names become fields of a named tuple."""
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise UserError(
                f"{path} names a hyperparameter {name!r}, which submissions could not read as "
                "hyperparameters.<name>; use letters, digits and underscores, a letter first."
            )


def _check_points(path: Path, points: Sequence[Any]) -> tuple[Point, ...]:
    for number, point in enumerate(points, start=1):
        if not isinstance(point, dict) or not point:
            raise UserError(
                f"{path}, point {number} is {point!r}; each point must be an object with a value "
                "for every hyperparameter."
            )
        _check_misspelt(path, number, points[0].keys(), point.keys())
        _check_names(path, point)
        for name, value in point.items():
            _check_value(path, f"{name!r} of point {number}", value)
    return tuple(points)


def _check_misspelt(path: Path, number: int, first: Set[str], names: Set[str]) -> None:
    """Points may have hyperparameters of their own, but not under almost the same name."""
    for name in sorted(names - first):
        for similar in difflib.get_close_matches(name, first - names, n=1, cutoff=_MISSPELT):
            raise UserError(
                f"{path}, point {number} has the hyperparameter {name!r} where the first has "
                f"{similar!r}; call it the same in all points."
            )


def _parse_dimension(path: Path, name: str, spec: Any) -> Range | Choice:
    if not isinstance(spec, dict):
        raise UserError(
            f"{path} gives {name!r} as {spec!r}; write "
            '{"min": ..., "max": ..., "scaling": ...} or {"feasible_points": [...]}.'
        )
    expected = ("feasible_points",) if "feasible_points" in spec else _RANGE_KEYS
    for key in spec:
        if key not in expected:
            near = _nearest(key, (*_RANGE_KEYS, "feasible_points"), "; did you mean {}?")
            raise UserError(
                f"{path} gives {name!r} the key {key!r}, but the keys are 'min', 'max' and "
                f"'scaling', or 'feasible_points' alone{near or '.'}"
            )
    for key in expected:
        if key not in spec:
            raise UserError(
                f"{path} gives {name!r} no {key!r}; add it, or use 'feasible_points' alone."
            )
    if expected == _RANGE_KEYS:
        return _parse_range(path, name, spec)
    values = spec["feasible_points"]
    if not isinstance(values, list) or not values:
        raise UserError(
            f"{path} gives {name!r} feasible_points {values!r}; it must be a list of one or more "
            "values."
        )
    for value in values:
        _check_value(path, f"{name!r}", value)
    return Choice(tuple(values))


def _parse_range(path: Path, name: str, spec: dict[str, Any]) -> Range:
    for key in ("min", "max"):
        value = spec[key]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"{path} gives {name!r} the {key} {value!r}; it must be a number.")
        _check_value(path, f"the {key} of {name!r}", value)
    scaling = spec["scaling"]
    if scaling not in SCALINGS:
        near = _nearest(str(scaling), SCALINGS, "; did you mean {}?")
        raise UserError(
            f"{path} gives {name!r} the scaling {scaling!r}; it must be 'linear' or 'log'"
            f"{near or '.'}"
        )
    minimum, maximum = float(spec["min"]), float(spec["max"])
    if minimum > maximum:
        raise UserError(
            f"{path} gives {name!r} a min {minimum:g} above its max {maximum:g}; swap them."
        )
    if scaling == "log" and minimum <= 0:
        raise UserError(
            f"{path} gives {name!r} log scaling from {minimum:g}; its min must be above 0, or the "
            "scaling linear."
        )
    return Range(minimum, maximum, scaling)


def _check_value(path: Path, what: str, value: Any) -> None:
    """Hyperparameters are JSON scalars, so that the named tuple is hashable."""
    if isinstance(value, dict | list):
        raise UserError(
            f"{path} gives {what} the value {value!r}; use a number, a string, true, false or null."
        )
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        raise UserError(f"{path} gives {what} the value {value!r}; use a finite number.")


def _nearest(name: str, candidates: Iterable[str], template: str) -> str:
    matches = difflib.get_close_matches(name, list(candidates), n=1)
    return template.format(repr(matches[0])) if matches else ""
