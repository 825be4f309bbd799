"""From a directory of logs to the scores of its submissions."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from finishline.errors import UserError
from finishline.workload import Target
from scoring import strict, studies
from scoring.cache import Cache
from scoring.logs import Logs, Meta, Problem, Trial, find_logs, natural_order
from scoring.reading import Readings, read_metas, read_trials
from scoring.rules import AS_PUBLISHED, DEFAULT, Rules, Scorer
from scoring.studies import Table
from scoring.targets import describe, race, resolve_target
from scoring.versions import Benchmark


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How to score.

    Attributes:
      benchmark: workloads, targets and numbers of runs. Without it the targets are those that the
        trials recorded, and for logs that have none, the project's own.
      workloads: those that the score is the mean over, with or without logs. By default the
        benchmark's base workloads; without a benchmark all that have logs.
      num_studies: how many studies each submission should have run on each workload; the missing
        ones count as failed. By default the benchmark's number or the most that a submission has.
      num_trials: how many trials each study should have; by default the benchmark's number.
      ruleset: 'external' or 'self': who chooses the hyperparameters.
      rules: how to score.
      is_strict: whether trials that break the rules of the benchmark have missed the target.
      include, exclude: names of submissions: the only ones, and ones to leave out.
      reference: the submission that speedups are relative to.
      bootstrap: number of bootstrap samples; 0 for none.
      seed: of the bootstrap.
      skip: a directory that holds no logs, such as the output's.
      cache: the file of the logs' cache.
      keep_curves: whether the learning curves are wanted.
    """

    benchmark: Benchmark | None = None
    workloads: Sequence[str] | None = None
    num_studies: int | None = None
    num_trials: int | None = None
    ruleset: str = "external"
    rules: Rules = DEFAULT
    is_strict: bool = False
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    reference: str | None = None
    bootstrap: int = 0
    seed: int = 0
    skip: Path | None = None
    cache: Path | None = None
    keep_curves: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """The result of a competition.

    Attributes:
      submissions: names in alphabetical order.
      targets: what each workload is scored against; those without one have no logs.
      held_out: the base workload of each held-out workload.
      num_studies: how many studies the medians are over; under the published rules, at most.
      num_trials: how many trials a study should have, if known.
      table: by the rules that were asked for.
      other: by the other rules, to tell the differences.
      readings: what the logs say.
      problems: what is wrong with the logs.
      violations: path, rule and reason; empty unless strict.
    """

    options: Options
    submissions: tuple[str, ...]
    targets: Mapping[str, Target]
    held_out: Mapping[str, str]
    num_studies: int
    num_trials: int | None
    table: Table
    other: Table
    readings: Readings
    problems: tuple[Problem, ...]
    violations: tuple[tuple[str, str, str], ...]


def compute_scores(root: Path, options: Options) -> Scores:
    """Scores the logs below ``root``.

    Raises:
      UserError: there are no logs, or the options do not fit them.
    """
    logs, benchmark = _find(root, options), options.benchmark
    problems = [*logs.problems, *studies.time_stamped(logs.submissions, options.rules)]
    metas = read_metas(root, logs.trials, problems)
    base = _base_workloads(logs, metas, options)
    held_out = {
        name: one
        for name, one in (benchmark.held_out if benchmark else {}).items()
        if one in base and name not in base
    }
    trials = [one for one in logs.trials if one.workload in {*base, *held_out}]
    targets = _targets(trials, [*base, *held_out], metas, benchmark, problems)
    problems.extend(_unscored(logs, base, held_out, targets))
    check = None
    if options.is_strict and benchmark is not None:
        check = strict.TrialCheck(root, benchmark, options.ruleset, targets)
    with Cache(options.cache) as cache:
        readings = read_trials(
            root, trials, metas, targets, cache=cache, check=check, keep_curves=options.keep_curves
        )
    num_trials = options.num_trials
    if num_trials is None and benchmark is not None:
        num_trials = benchmark.num_trials.get(options.ruleset)
    given = options.num_studies or (benchmark and benchmark.num_studies)
    num_studies = given or studies.most_studies(trials)
    violations = list(readings.violations)
    if options.is_strict:
        violations += strict.check_counts(readings.results, num_studies, num_trials)
    problems.extend(studies.surplus(trials, num_studies) if options.rules.regular_only else ())
    tables = {}
    for rules in (DEFAULT, AS_PUBLISHED):
        scorer = Scorer.of(base, held_out, rules)
        tables[rules] = studies.tabulate(
            readings.results, logs.submissions, scorer, rules, num_studies
        )
    other = AS_PUBLISHED if options.rules is DEFAULT else DEFAULT
    return Scores(
        options=options,
        submissions=logs.submissions,
        targets=targets,
        held_out=held_out,
        num_studies=num_studies,
        num_trials=num_trials,
        table=tables[options.rules],
        other=tables[other],
        readings=readings,
        problems=tuple(sorted(set(problems + readings.problems), key=_by_path)),
        violations=tuple(sorted(set(violations), key=lambda one: (natural_order(one[0]), one))),
    )


def _by_path(problem: Problem) -> tuple[object, ...]:
    return (natural_order(problem.path), problem.reason)


def _find(root: Path, options: Options) -> Logs:
    if not root.is_dir():
        raise UserError(f"There is no directory {root}; pass the directory that holds the logs.")
    logs = find_logs(root, skip=options.skip, as_published=not options.rules.regular_only)
    for flag, names in (("include", options.include), ("exclude", options.exclude)):
        unknown = sorted(set(names) - set(logs.submissions))
        if unknown:
            raise UserError(
                f"There is no submission {unknown[0]!r} in {root}, which --{flag}_submissions"
                f" names; it has {', '.join(logs.submissions) or 'none'}."
            )
    wanted = set(options.include or logs.submissions) - set(options.exclude)
    trials = tuple(one for one in logs.trials if one.submission in wanted)
    if options.reference is not None and options.reference not in wanted:
        raise UserError(
            f"The reference {options.reference!r} is not among the scored submissions"
            f" ({', '.join(sorted(wanted))}); give --reference one of them."
        )
    if not trials:
        raise UserError(
            f"There are no logs in {root}; pass the directory that holds"
            " <submission>/study_<k>/<workload>_<jax|pytorch>/trial_<n>/."
        )
    left_out = set(logs.submissions) - wanted
    problems = (one for one in logs.problems if one.path.partition("/")[0] not in left_out)
    return Logs(tuple(sorted(wanted)), trials, tuple(problems))


def _base_workloads(logs: Logs, metas: Mapping[str, Meta], options: Options) -> tuple[str, ...]:
    if options.workloads is not None:
        return tuple(dict.fromkeys(options.workloads))
    if options.benchmark is not None:
        return options.benchmark.base_workloads
    recorded = {
        trial.workload
        for trial in logs.trials
        if trial.path in metas and metas[trial.path].target is not None
    }
    found = sorted({trial.workload for trial in logs.trials})
    base = tuple(
        name for name in found if name in recorded or resolve_target(name, (), None) is not None
    )
    if not base:
        raise UserError(
            f"There is no target for any of the workloads {', '.join(found)}: neither their logs"
            " nor this project have one; pass a file or a version with --workload_targets."
        )
    return base


def _targets(
    trials: Iterable[Trial],
    workloads: Iterable[str],
    metas: Mapping[str, Meta],
    benchmark: Benchmark | None,
    problems: list[Problem],
) -> dict[str, Target]:
    recorded: dict[str, list[tuple[Trial, Target]]] = {name: [] for name in workloads}
    for trial in trials:
        meta = metas.get(trial.path)
        if meta is not None and meta.target is not None:
            recorded[trial.workload].append((trial, meta.target))
    targets = {}
    for name, runs in recorded.items():
        given = benchmark.targets if benchmark else None
        target = resolve_target(name, (one for _, one in runs), given)
        if target is None:
            continue
        targets[name] = target
        others = [(trial, one) for trial, one in runs if race(one) != race(target)]
        counts = collections.Counter(trial.submission for trial, _ in others)
        for trial, one in {pair[0].submission: pair for pair in reversed(others)}.values():
            more = counts[trial.submission] - 1
            reason = f"ran against {describe(one)} and is scored against {describe(target)}"
            problems.append(
                Problem(trial.path, reason + (f" (and {more} trials more)" if more else ""))
            )
    return targets


def _unscored(
    logs: Logs,
    base: Sequence[str],
    held_out: Iterable[str],
    targets: Mapping[str, Target],
) -> list[Problem]:
    """Where the logs and the list of scored workloads differ."""
    found = {trial.workload for trial in logs.trials}
    problems = []
    without_logs = [name for name in base if name not in found]
    without_target = [name for name in base if name in found and name not in targets]
    not_scored = sorted(found - {*base, *held_out})
    if without_logs:
        names = ", ".join(without_logs)
        problems.append(Problem(".", f"has no log of {names}, which count as 0 for all"))
    if without_target:
        names = ", ".join(without_target)
        problems.append(Problem(".", f"has logs of {names}, for which there is no target"))
    if not_scored:
        problems.append(Problem(".", f"has logs that are not scored: {', '.join(not_scored)}"))
    return problems
