"""What a reader of a leaderboard should know beside the scores: pace, resolution, fragile ranks."""

import collections
import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

COARSE_RESOLUTION = 0.1  # of the time to the target
_SAME_PERIOD = 1.5  # evaluation periods are called different from this factor on
_MAX_LISTED = 8  # in one sentence

ACCOUNTS = ("submission", "evaluation", "record_keeping", "setup")


def seconds_per_step(time: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The mean step time of each interval between two evaluations of a trial.

    What comes before the first evaluation is left out: it has the compilation in it.

    Args:
      time: seconds of submission time at the evaluations, shape (evaluations,).
      step: training steps done by then, same shape; NaN where the log does not tell. A NaN may also
        part the evaluations of several trials: no interval reaches across.

    Returns:
      Seconds a step, shape (intervals with at least one step,).
    """
    with np.errstate(invalid="ignore"):
        seconds, steps = np.diff(time), np.diff(step)
    is_usable = (steps > 0) & (seconds >= 0) & np.isfinite(steps) & np.isfinite(seconds)
    return seconds[is_usable] / steps[is_usable]


def band(values: np.ndarray) -> dict[str, float] | None:
    """The 10th percentile, the median and the 90th percentile; None of nothing."""
    if not values.size:
        return None
    low, median, high = np.quantile(values, [0.1, 0.5, 0.9]).tolist()
    return {"p10": low, "median": median, "p90": high}


def step_times(time: np.ndarray, step: np.ndarray) -> dict[str, float] | None:
    """The band of the step times in seconds; see ``seconds_per_step``."""
    return band(seconds_per_step(time, step))


def first_step_seconds(time: np.ndarray, step: np.ndarray) -> float | None:
    """The seconds of the first training step of a trial, with the compilation in it.

    If the first evaluation came after more than one step, the others count with the median step
    time. None if the log does not tell.
    """
    if not time.size or not 1 <= step[0] < math.inf or not math.isfinite(time[0]):
        return None
    if step[0] == 1:
        return float(time[0])
    usual = step_times(time, step)
    if usual is None:
        return None
    return max(0.0, float(time[0] - (step[0] - 1) * usual["median"]))


def evaluation_period(time: np.ndarray) -> float | None:
    """The median submission time between two evaluations; None of less than two.

    A NaN may part the times of several trials.
    """
    gaps = np.diff(time)
    gaps = gaps[np.isfinite(gaps) & (gaps > 0)]
    return float(np.median(gaps)) if gaps.size else None


def time_resolution(period: float | None, time: float | None) -> float | None:
    """The evaluation period as a share of the time to the target; None without either.

    A time is known from above only, up to the evaluation period: the target may have been met at
    any moment since the evaluation before.
    """
    if period is None or time is None or not (0 < time < math.inf and math.isfinite(period)):
        return None
    return period / time


def ledger(trials: Iterable[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The seconds by account, added up over trials.

    Args:
      trials: the ledger of each; an account that is not there or no number was not recorded.

    Returns:
      The sums over the trials that have recorded them; ``setup`` is None if none has.
    """
    booked: dict[str, list[float]] = {account: [] for account in ACCOUNTS}
    for trial in trials:
        for account in ACCOUNTS:
            seconds = trial.get(account)
            if seconds is not None and math.isfinite(seconds):
                booked[account].append(seconds)
    sums: dict[str, float | None] = {name: math.fsum(values) for name, values in booked.items()}
    return sums if booked["setup"] else {**sums, "setup": None}


def warnings(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """What makes the scores of a document (``scores.json``) less sure than they look.

    Returns:
      ``kind`` and ``text``, one or two sentences, of each; in a fixed order.
    """
    found = itertools.chain(
        _fragile_ranks(document, "leave_one_workload_out", "workload"),
        _fragile_ranks(document, "leave_one_submission_out", "submission"),
        _coarse_times(document["results"]),
        _different_periods(document["results"]),
        _missing_studies(document),
        _trial_counts(document),
    )
    return [{"kind": kind, "text": text} for kind, text in found]


def _fragile_ranks(document: Mapping[str, Any], field: str, what: str) -> Iterator[tuple[str, str]]:
    """One warning for each entry without which others would stand in another order."""
    ranks = {one["name"]: one["rank"] for one in document["submissions"]}
    changes: dict[str, list[str]] = collections.defaultdict(list)
    for one in document["submissions"]:
        for left_out, without in (one[field] or {}).items():
            if without is None or without["rank"] is None:
                continue
            # Who stood behind a submission moves up by one when it leaves: that is no change.
            moves_up = what == "submission" and ranks[left_out] < one["rank"]
            before = one["rank"] - moves_up
            if without["rank"] != before:
                changes[left_out].append(f"{one['name']} {before} → {without['rank']}")
    for left_out in sorted(changes):
        among = " (ranks among the others)" if what == "submission" else ""
        yield (
            f"rank_depends_on_{what}",
            f"Without the {what} {left_out} ranks change{among}: {_listed(changes[left_out])}.",
        )


def _coarse_times(results: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for workload, rows in _by(results, "workload"):
        coarse = [
            f"{row['submission']} {row['time_resolution']:.0%}"
            for row in rows
            if (row["time_resolution"] or 0.0) > COARSE_RESOLUTION
        ]
        if coarse:
            yield (
                "time_resolution",
                f"Times on {workload} are coarse: evaluations are more than "
                f"{COARSE_RESOLUTION:.0%} of the time to the target apart for {_listed(coarse)}.",
            )


def _different_periods(results: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """The resolution is the period divided by the time, so it tells the period."""
    for workload, rows in _by(results, "workload"):
        periods = {
            row["submission"]: row["time_resolution"] * row["time"]
            for row in rows
            if row["time_resolution"] is not None and row["time"] is not None
        }
        if not periods or _is_same(min(periods.values()), max(periods.values())):
            continue
        middle = statistics.median(periods.values())
        odd = {name: one for name, one in periods.items() if not _is_same(one, middle)} or periods
        usual = [period for name, period in periods.items() if name not in odd]
        against = f" and not every {statistics.median(usual):.0f} s" if usual else ""
        names = _listed([f"{name} every {period:.0f} s" for name, period in sorted(odd.items())])
        yield (
            "evaluation_period",
            f"Not all were evaluated as often on {workload}: {names}{against}. Times of those that"
            " were evaluated less often are too long by up to a period.",
        )


def _is_same(period: float, other: float) -> bool:
    return max(period, other) <= _SAME_PERIOD * min(period, other)


def _missing_studies(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    expected = document["rules"]["num_studies"]
    for submission, rows in _by(document["results"], "submission"):
        few = [
            f"{row['workload']} ({row['studies_run']})"
            for row in rows
            if row["studies_run"] < (expected or 0)
        ]
        if few:
            yield (
                "studies",
                f"{submission} has fewer studies than the {expected} of the rules on "
                f"{_listed(few)}.",
            )


def _trial_counts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    expected = document["rules"]["num_trials"]
    if expected is None:
        return
    for submission, rows in _by(document["studies"], "submission"):
        for words, is_off in (("fewer", int.__lt__), ("more", int.__gt__)):
            off = [
                f"{row['workload']} {row['study']} ({row['trials_run']})"
                for row in rows
                if is_off(row["trials_run"], expected)
            ]
            if off:
                yield (
                    "trials",
                    f"{submission} has {words} trials than the {expected} of the rules in "
                    f"{_listed(off)}.",
                )


def _by(
    rows: Iterable[Mapping[str, Any]], field: str
) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    groups: dict[str, list[Mapping[str, Any]]] = collections.defaultdict(list)
    for row in rows:
        groups[row[field]].append(row)
    yield from sorted(groups.items())


def _listed(parts: Sequence[str]) -> str:
    if len(parts) > _MAX_LISTED:
        parts = [*parts[:_MAX_LISTED], f"and {len(parts) - _MAX_LISTED} more"]
    return ", ".join(parts)
