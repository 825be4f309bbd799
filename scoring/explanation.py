"""How the score was computed, in words, and where the rules make a difference."""

import math

from scoring.rules import DEFAULT
from scoring.scores import Scores
from scoring.studies import Table

_DIGITS = 4  # of a score


def explain(scores: Scores) -> list[str]:
    """How the score was computed."""
    rules, count = scores.options.rules, scores.num_studies
    studies = f"{count} studies" if count > 1 else "one study"
    if rules.fastest:
        trial = "the fastest trial's submission time at the first evaluation that met"
        missing = "a study that is missing or never met it counts as infinite"
    else:
        studies = "the studies that have logs"
        trial = (
            "the submission time of the trial with the fewest evaluations until one met (of several"
            " the fastest), at that evaluation, of"
        )
        missing = "a study that never met it counts as infinite and a missing one not at all"
    sentences = [
        f"A submission's time on a workload is the median over {studies} of {trial} the validation"
        f" target; {missing}."
    ]
    if scores.held_out:
        sentences.append(
            "A time counts only if the submission's time on the held-out variant of the workload is"
            " finite and at most 4 times the best one of those that met the workload's own target."
        )
    num_workloads = len(scores.table.scorer.base)
    how = "exactly" if rules.exact else "by the trapezoid rule on 100 points"
    sentences.append(
        f"The score is the mean over {num_workloads} workloads of max(0, 4 − r) / 3, where r is"
        " that time divided by the best submission's: the area under the performance profile for"
        f" τ from 1 to 4, computed {how}."
    )
    if scores.options.is_strict:
        sentences.append("Trials that broke the rules of the benchmark have not met the target.")
    return sentences


def differences(scores: Scores) -> list[str]:
    """Where the default and the published rules give another figure, as old -> new.

    The old figure is that of the published rules, the new one that of the default rules.
    """
    new, old = scores.table, scores.other
    if scores.options.rules is not DEFAULT:
        new, old = old, new
    return [*_times(scores, old, new), *_scores(scores, old, new)]


def _times(scores: Scores, old: Table, new: Table) -> list[str]:
    found = []
    for row, submission in enumerate(scores.submissions):
        for column, workload in enumerate(new.scorer.workloads):
            before, after = float(old.times[row, column]), float(new.times[row, column])
            # A workload that was not run is NaN by one set of rules and infinite by the other.
            if before == after or not (math.isfinite(before) or math.isfinite(after)):
                continue
            found.append(
                f"{submission} on {workload}: {_seconds(before)} by the published rules →"
                f" {_seconds(after)} by the default rules"
                f" ({_cause(scores, old, new, submission, workload)})."
            )
    return found


def _cause(scores: Scores, old: Table, new: Table, submission: str, workload: str) -> str:
    before = {key[2]: one for key, one in old.studies.items() if key[:2] == (submission, workload)}
    after = {key[2]: one for key, one in new.studies.items() if key[:2] == (submission, workload)}
    causes = []
    if len(after) < scores.num_studies or set(after) != set(before):
        causes.append(f"{len(after)} of {scores.num_studies} studies are there")
    if any(before[name].time > after[name].time for name in before.keys() & after.keys()):
        causes.append("the fastest trial is not the one with the fewest evaluations")
    if any(before[name].time < after[name].time for name in before.keys() & after.keys()):
        causes.append("trials that do not count met the target")
    return "; ".join(causes) or "another median"


def _scores(scores: Scores, old: Table, new: Table) -> list[str]:
    found = []
    pairs = zip(scores.submissions, old.scores.tolist(), new.scores.tolist(), strict=True)
    for submission, before, after in pairs:
        if f"{before:.{_DIGITS}f}" != f"{after:.{_DIGITS}f}":
            found.append(
                f"{submission}: score {before:.{_DIGITS}f} by the published rules →"
                f" {after:.{_DIGITS}f} by the default rules."
            )
    return found


def _seconds(time: float) -> str:
    return f"{time:.1f} s" if math.isfinite(time) else "not reached"
