"""The official rules of a benchmark, enforced: ``--strict``.

What a log does not record cannot be checked: published logs of AlgoPerf, for one, may lack the
description of the machine.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from finishline.workload import Target
from scoring.evaluations import Evaluations, LogError
from scoring.logs import Meta, Trial, natural_order, read_bytes, read_json
from scoring.targets import describe, race
from scoring.times import TrialResult
from scoring.versions import Benchmark, Hardware

_ALGOPERF_META_FILE = "meta_data_0.json"
_EVENTS_FILE = "events.jsonl"
_EARLY = 0.9  # evaluations may come this share of the period after each other
_LATE = 1.5  # and this multiple; after it, a training step more

Violation = tuple[str, str, str]  # path, rule, reason


class TrialCheck:
    """Finds the rules of a benchmark that a trial broke: (rule, reason) of each."""

    def __init__(
        self, root: Path, benchmark: Benchmark, ruleset: str, targets: Mapping[str, Target]
    ):
        self._root = root
        self._benchmark = benchmark
        self._ruleset = ruleset
        self._targets = targets

    def __call__(
        self, trial: Trial, meta: Meta | None, log: Evaluations | None
    ) -> list[tuple[str, str]]:
        """The violations of a trial; none of a log that is not there."""
        found = [*self._check_names(trial)]
        machine = self._machine(trial, meta)
        hardware = None
        if machine is not None:
            classes = self._benchmark.hardware
            hardware = next((name for name in classes if _is(machine, classes[name])), None)
            if hardware is None and classes:
                allowed = " or ".join(classes)
                gpus = f"{machine[1]} x {machine[0]}" if machine[0] else "no GPU"
                found.append(("hardware", f"ran on {gpus} instead of {allowed}"))
        if meta is not None:
            found += self._check_meta(trial, meta)
        if log is not None and len(log):
            found += self._check_budget(trial, log, hardware)
            found += self._check_period(trial, log, hardware)
            found += self._check_resumes(trial, log)
        return found

    def _check_names(self, trial: Trial) -> Iterator[tuple[str, str]]:
        if not trial.is_regular:
            yield "layout", "its directories are not named study_<k> and trial_<n>"

    def _machine(self, trial: Trial, meta: Meta | None) -> tuple[str, int] | None:
        """The name of the GPUs and their number, if recorded."""
        if meta is not None:
            machine = meta.content.get("machine")
            gpus = machine.get("gpus") if isinstance(machine, dict) else None
            if not isinstance(gpus, list):
                return None
            devices = meta.content.get("num_devices")
            number = devices if isinstance(devices, int) else len(gpus)
            return (str(gpus[0]) if gpus else "", number)
        try:
            content = read_json(f"{self._root}/{trial.path}/{_ALGOPERF_META_FILE}") or {}
        except LogError:
            return None
        model, count = content.get("gpu_model_name"), content.get("gpu_count")
        return (model, count) if isinstance(model, str) and isinstance(count, int) else None

    def _check_meta(self, trial: Trial, meta: Meta) -> Iterator[tuple[str, str]]:
        content, target = meta.content, self._targets[trial.workload]
        if meta.target is not None and race(meta.target) != race(target):
            yield "target", f"ran against {describe(meta.target)} instead of {describe(target)}"
        if (ruleset := content.get("tuning_ruleset")) not in (None, self._ruleset):
            yield "tuning_ruleset", f"ran under {ruleset!r} instead of {self._ruleset!r}"
        limit = content.get("max_global_steps")
        if limit is not None:
            yield "budget", f"ended after at most {limit} steps instead of by its budget"
        version = content.get("benchmark_version")
        wanted = self._benchmark.version
        if version is not None and wanted is not None and version != wanted:
            yield "version", f"ran version {version} instead of {wanted}"

    def _check_budget(
        self, trial: Trial, log: Evaluations, hardware: str | None
    ) -> Iterator[tuple[str, str]]:
        budget = self._benchmark.budget(trial.workload, self._ruleset, hardware)
        target = self._targets[trial.workload]
        met = log.value <= target.validation if target.minimize else log.value >= target.validation
        hit = np.flatnonzero(met & np.isfinite(log.value))
        # Evaluations after the budget are harmless as long as they are not what is scored.
        if budget is not None and hit.size and log.time[hit[0]] > budget:
            time = float(log.time[hit[0]])
            yield (
                "budget",
                f"met the target after {time:.0f} s, beyond its budget of {budget:.0f} s",
            )

    def _check_period(
        self, trial: Trial, log: Evaluations, hardware: str | None
    ) -> Iterator[tuple[str, str]]:
        period = self._benchmark.eval_period(trial.workload, hardware)
        gaps = np.diff(log.time)[:-1]  # the last evaluation may come early, at the end
        if period is None or gaps.size < 2:
            return
        usual = float(np.median(gaps))
        steps = np.diff(log.step)[:-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            step = float(np.nanmax(np.where(steps > 0, gaps / steps, math.nan), initial=0.0))
        if not _EARLY * period <= usual <= _LATE * period + step:
            yield (
                "eval_period",
                f"was evaluated every {usual:.0f} s instead of every {period:.0f} s",
            )

    def _check_resumes(self, trial: Trial, log: Evaluations) -> Iterator[tuple[str, str]]:
        resumes = np.nan_to_num(log.resumes).max()
        noted = _noted_resumes(f"{self._root}/{trial.path}/{_EVENTS_FILE}")
        if resumes > noted:
            yield "resumes", f"was resumed {resumes:.0f} times, of which its events explain {noted}"


def _noted_resumes(events: str) -> int:
    try:
        return (read_bytes(events) or b"").count(b'"event": "resumed"')
    except LogError:
        return 0


def _is(machine: tuple[str, int], hardware: Hardware) -> bool:
    return hardware.gpu_model in machine[0] and hardware.gpu_count == machine[1]


def check_counts(
    results: dict[tuple[str, str], list[TrialResult]], num_studies: int, num_trials: int | None
) -> list[Violation]:
    """Submissions with another number of studies or trials than the rules say.

    Trials beyond the number are excluded from ``results``: the first ones count. Missing ones are
    chances that the submission did not take.
    """
    violations = []
    for (submission, workload), group in results.items():
        studies: dict[str, list[TrialResult]] = {}
        for one in sorted(group, key=lambda one: (one.trial.number, one.trial.path)):
            studies.setdefault(one.trial.study, []).append(one)
        if len(studies) != num_studies:
            reason = f"{workload}: {len(studies)} studies instead of {num_studies}"
            violations.append((submission, "num_studies", reason))
        for study in sorted(studies, key=natural_order):
            own = studies[study]
            if num_trials is None or len(own) == num_trials:
                continue
            reason = f"{workload}: {len(own)} trials instead of {num_trials}"
            violations.append((f"{submission}/{study}", "num_trials", reason))
            surplus = {id(one) for one in own[num_trials:]}
            message = f"is beyond the {num_trials} trials of a study"
            group[:] = [
                one.excluded("rule_violation", message) if id(one) in surplus else one
                for one in group
            ]
    return violations
