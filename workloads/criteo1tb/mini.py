"""Made-up click logs of which the probability of each click is known.

A line has 13 counts and 26 categories, some of them missing. Category k of its column occurs with
a probability proportional to (k + 1)^-1.1 (Zipf's law), and has hidden effects a and b and, in the
first columns, a hidden vector u; "missing" is a category, too. A count is the rounded exponential
of a normal variable. With z its standardised logarithm, 0 if missing, the logit of a click is

    bias + sum_c a_c + sum_(c < d) <u_c, u_d> + sum_j sin(2 z_j + j) + sum_j z_j b_j,

where b_j belongs to the category in column j, and each sum is scaled to a given standard
deviation. The mean binary entropy of the probabilities, the Bayes loss, is the least that a model
can have. One without products and bends does not come near it.
"""

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workloads.criteo1tb.fields import NUM_CATEGORIES, NUM_NUMBERS
from workloads.criteo1tb.hashing import NUM_BUCKETS
from workloads.criteo1tb.originals import NUM_DAYS

_HIDDEN_SEED = 20_130_415
_MAX_CATEGORIES = 60
_SKEW = 1.1
_NUM_VECTORS, _RANK = 6, 2  # columns with hidden vectors, and their length
_BIAS = -1.2
_EFFECTS, _PRODUCTS, _WAVES, _MIXED = 0.8, 1.6, 0.8, 0.8  # standard deviations of the sums
_MISSING_NUMBER, _MISSING_CATEGORY = 0.15, 0.03
_LOG_MEAN, _LOG_STD = 2.0, 1.5


class Clicks(NamedTuple):
    """Made-up rows.

    Attributes:
      labels: int64, (n,), 0 or 1.
      numbers: int64, (n, 13); -1 is missing.
      categories: int64, (n, 26), numbers in their columns; the last of a column is "missing".
      probabilities: float64, (n,), of a click.
    """

    labels: np.ndarray
    numbers: np.ndarray
    categories: np.ndarray
    probabilities: np.ndarray

    def bayes_loss(self) -> float:
        """The mean binary entropy of the probabilities, in nats."""
        p = self.probabilities
        return float(-(p * np.log(p) + (1 - p) * np.log1p(-p)).mean())


def make_clicks(num_rows: int, seed: int) -> Clicks:
    """``num_rows`` rows of the model above. The hidden values do not depend on ``seed``."""
    generator = np.random.default_rng(seed)
    uniform = generator.random((num_rows, NUM_CATEGORIES))
    categories = np.stack(
        [np.searchsorted(_cumulative(c), uniform[:, c]) for c in range(NUM_CATEGORIES)], axis=1
    )
    normal = generator.standard_normal((num_rows, NUM_NUMBERS))
    numbers = np.exp(_LOG_STD * normal + _LOG_MEAN).astype(np.int64)
    numbers[generator.random(numbers.shape) < _MISSING_NUMBER] = -1
    probabilities = 1 / (1 + np.exp(-_logits(numbers, categories)))
    labels = (generator.random(num_rows) < probabilities).astype(np.int64)
    return Clicks(labels, numbers, categories, probabilities)


def write_originals(folder: Path, *, num_train: int, num_last: int) -> None:
    """Writes 24 days as gzip files in Criteo's format.

    Args:
      folder: where to.
      num_train: lines of days 0 to 22 together.
      num_last: lines of day 23.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for day in range(NUM_DAYS - 1):
        bounds = [num_train * (day + i) // (NUM_DAYS - 1) for i in (0, 1)]
        write_day(folder / f"day_{day}.gz", make_clicks(bounds[1] - bounds[0], seed=day))
    write_day(folder / f"day_{NUM_DAYS - 1}.gz", make_clicks(num_last, seed=NUM_DAYS - 1))


def write_day(path: Path, clicks: Clicks) -> None:
    """Writes one day in Criteo's format, compressed if the name ends in ``.gz``."""
    columns = [clicks.labels.astype("S").tolist()]
    columns += [
        np.where(column < 0, b"", column.astype("S")).tolist() for column in clicks.numbers.T
    ]
    for index, column in enumerate(clicks.categories.T):
        columns.append(_names(index)[column].tolist())
    text = b"".join(b"\t".join(row) + b"\n" for row in zip(*columns, strict=True))
    path.write_bytes(gzip.compress(text, 1, mtime=0) if path.suffix == ".gz" else text)


def _num_categories(column: int) -> int:
    return min(_MAX_CATEGORIES, NUM_BUCKETS[column])


def _cumulative(column: int) -> np.ndarray:
    """The cumulative probabilities of the categories; what is left is that of "missing"."""
    weights = (1.0 + np.arange(_num_categories(column))) ** -_SKEW
    return (1 - _MISSING_CATEGORY) * np.cumsum(weights / weights.sum())


def _names(column: int) -> np.ndarray:
    """The hexadecimal names of a column's categories; the last is the empty one."""
    # An odd factor makes different numbers of different categories.
    numbers = (np.arange(_num_categories(column)) * 2_654_435_761 + column * 97_531) % 2**32
    return np.array([f"{number:08x}".encode() for number in numbers] + [b""])


def _logits(numbers: np.ndarray, categories: np.ndarray) -> np.ndarray:
    hidden = np.random.default_rng(_HIDDEN_SEED)
    size = _MAX_CATEGORIES + 1
    effects, mixing = hidden.standard_normal((2, NUM_CATEGORIES, size))
    vectors = hidden.standard_normal((_NUM_VECTORS, size, _RANK))
    z = np.where(numbers < 0, 0, (np.log1p(np.maximum(numbers, 0)) - _LOG_MEAN) / _LOG_STD)
    waves = np.where(numbers < 0, 0, np.sin(2 * z + np.arange(NUM_NUMBERS)))
    columns = np.arange(NUM_CATEGORIES)
    u = vectors[np.arange(_NUM_VECTORS), categories[:, :_NUM_VECTORS]]  # (n, columns, rank)
    products = (u.sum(axis=1) ** 2 - (u**2).sum(axis=1)).sum(axis=1) / 2
    mixed = (z * mixing[columns, categories][:, :NUM_NUMBERS]).sum(axis=1)
    num_products = _NUM_VECTORS * (_NUM_VECTORS - 1) / 2 * _RANK
    return (
        _BIAS
        + _EFFECTS / NUM_CATEGORIES**0.5 * effects[columns, categories].sum(axis=1)
        + _PRODUCTS / num_products**0.5 * products
        + _WAVES / (NUM_NUMBERS / 2) ** 0.5 * waves.sum(axis=1)
        + _MIXED / NUM_NUMBERS**0.5 * mixed
    )
