"""The functions of a submission, and the hyperparameters that they read."""

import ast
from collections.abc import Iterator
from typing import TypeGuard

from finishline import signatures
from finishline.checking.folder import Folder
from finishline.checking.metadata import Info
from finishline.checking.report import Finding, Section, note, problem
from finishline.errors import UserError
from finishline.study import DEFAULT_NUM_TRIALS
from finishline.submission import SEARCH_SPACE_NAME
from finishline.tuning import SearchSpace


def check_interface(folder: Folder) -> Section:
    """Checks syntax, framework, functions and their arguments, in each framework's file."""
    findings: list[Finding] = []
    for framework, file in folder.submissions.items():
        try:
            tree = signatures.parse(file.path)
            signatures.check_framework(file.path, tree, framework)
            findings += map(problem, signatures.function_faults(file.path, tree))
        except UserError as error:
            findings.append(problem(error))
    for path in set(folder.sources()) - {file.path for file in folder.submissions.values()}:
        try:
            signatures.parse(path)
        except UserError as error:
            findings.append(problem(error))
    shortened = (problem(folder.shorten(finding.message)) for finding in findings)
    files = [folder.relative(file.path) for file in folder.submissions.values()]
    # One file for both frameworks has each fault twice.
    return Section("API", ", ".join(dict.fromkeys(files)), tuple(dict.fromkeys(shortened)))


def check_search_space(folder: Folder, info: Info) -> Section:
    """Checks the search space: valid, as large as the rules want it, and of use to the code."""
    paths = {file.search_space_path for file in folder.submissions.values()} - {None}
    if info.ruleset == "self" or (info.ruleset is None and not paths):
        return Section(*_without(folder, bool(paths)))
    if not paths:
        return Section(
            "search space",
            "missing",
            (
                problem(
                    f"There is no {SEARCH_SPACE_NAME}, which external tuning needs; add one, or "
                    "write `ruleset: self` into submission_info.yml."
                ),
            ),
        )
    findings: list[Finding] = []
    summaries = []
    for path in sorted(filter(None, paths)):
        try:
            space = SearchSpace.load(path)
        except UserError as error:
            findings.append(problem(folder.shorten(error)))
            continue
        summaries.append(_summary(space))
        findings += _size_findings(folder, space)
        findings += _unknown(folder, space)
    return Section("search space", "; ".join(summaries) or "not valid", tuple(findings))


def _without(folder: Folder, has_space: bool) -> tuple[str, str, tuple[Finding, ...]]:
    findings = [
        problem(
            f"says that the submission tunes itself, but there is a {SEARCH_SPACE_NAME}; remove "
            "one of the two.",
            "submission_info.yml",
        )
    ]
    return "search space", "none: tunes itself", tuple(findings if has_space else ())


def _summary(space: SearchSpace) -> str:
    if space.fixed_points is not None:
        return f"{len(space.fixed_points)} points of {len(space.fixed_points[0])} hyperparameters"
    assert space.dimensions is not None
    return f"ranges of {len(space.dimensions)} hyperparameters"


def _size_findings(folder: Folder, space: SearchSpace) -> Iterator[Finding]:
    trials = DEFAULT_NUM_TRIALS["external"]
    if space.fixed_points is not None and len(space.fixed_points) < trials:
        yield problem(
            f"lists {len(space.fixed_points)} points, fewer than the {trials} trials of a study; "
            "add points.",
            folder.relative(space.path),
        )


def _unknown(folder: Folder, space: SearchSpace) -> Iterator[Finding]:
    """Hyperparameters that the code reads and the search space lacks."""
    names = set(space.dimensions or (space.fixed_points or ({},))[0])
    for file in folder.submissions.values():
        if file.search_space_path != space.path:
            continue
        try:
            tree = signatures.parse(file.path)
        except UserError:
            continue  # said under API
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        for node in ast.walk(tree):
            # A name that also occurs as text is asked for with hasattr or getattr first.
            if _is_hyperparameter(node) and node.attr not in names | texts:
                yield note(
                    f"reads hyperparameters.{node.attr}, which {folder.relative(space.path)} "
                    "lacks: that raises AttributeError.",
                    folder.relative(file.path),
                    node.lineno,
                )


def _is_hyperparameter(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "hyperparameters"
        and not node.attr.startswith("_")
    )
