"""``submission_info.yml``: who submits what, under which rules and which licence."""

import dataclasses
import difflib
import reprlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.version import InvalidVersion, Version

from finishline.checking.folder import FRAMEWORK_NAMES, INFO_FILE, PLACEHOLDER, Folder
from finishline.checking.report import Finding, Section, note, problem

# Their names in the file -> those of the command lines. AlgoPerf writes 'self-tuning'.
RULESETS = {"external": "external", "self": "self", "self-tuning": "self"}


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of the file.

    Attributes:
      example: a line that is right, for the remedy.
      fault: says of a value what is wrong with it, or None.
      is_required: whether a submission must have it.
    """

    example: str
    fault: Callable[[Any], str | None]
    is_required: bool = True


@dataclasses.dataclass(frozen=True)
class Info:
    """What could be read.

    Attributes:
      values: the fields as they are in the file.
      ruleset: 'external' or 'self'; None if the file does not say.
      frameworks: 'jax' and 'pytorch' as the file names them; empty if it does not say.
    """

    values: Mapping[str, Any]
    ruleset: str | None
    frameworks: tuple[str, ...]


def check_metadata(folder: Folder) -> tuple[Section, Info]:
    """Reads and checks the file of the submission."""
    path = folder.home / INFO_FILE
    values, lines, findings = _read(path)
    info = _interpret(values)
    if not findings:
        findings = [*_field_findings(values, lines), *_agreement(folder, info, lines)]
    summary = ", ".join(
        str(values[name]) for name in ("submission_name", "version") if values.get(name)
    )
    return Section("metadata", summary or INFO_FILE, tuple(findings)), info


def _read(path: Path) -> tuple[dict[str, Any], dict[str, int], list[Finding]]:
    """The values and their lines by name; what is wrong with the file as a whole."""
    if not path.is_file():
        return {}, {}, [problem(_absence(path))]
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        told = getattr(error, "problem", None) or error
        line = mark.line + 1 if mark else None
        return {}, {}, [problem(f"is not valid YAML ({told}); correct it.", path.name, line)]
    if not isinstance(root, yaml.MappingNode) or not isinstance(values, dict):
        return {}, {}, [problem("holds no fields; write `name: value` lines.", path.name)]
    lines: dict[str, int] = {}
    twice = []
    for key, _ in root.value:
        line = key.start_mark.line + 1
        if str(key.value) in lines:
            twice.append(problem(f"has {key.value!r} twice; keep one.", path.name, line))
        lines[str(key.value)] = line
    return {str(name): value for name, value in values.items()}, lines, twice


def _absence(path: Path) -> str:
    similar = [p.name for p in path.parent.iterdir() if p.suffix in (".yml", ".yaml")]
    near = difflib.get_close_matches(path.name, similar, n=1)
    if near:
        return f"There is no {INFO_FILE}; rename {near[0]}."
    return (
        f"There is no {INFO_FILE}; add one with the fields "
        f"{', '.join(name for name, field in FIELDS.items() if field.is_required)}."
    )


def _interpret(values: Mapping[str, Any]) -> Info:
    ruleset, framework = values.get("ruleset"), values.get("framework")
    known = {name.lower(): key for key, name in FRAMEWORK_NAMES.items()}
    named = [] if _framework_fault(framework) else _listed(framework)
    return Info(
        values=values,
        ruleset=RULESETS.get(ruleset) if isinstance(ruleset, str) else None,
        frameworks=tuple(known[name.lower()] for name in named),
    )


def _field_findings(values: Mapping[str, Any], lines: Mapping[str, int]) -> Iterator[Finding]:
    for name, field in FIELDS.items():
        if name not in values:
            if field.is_required:
                yield problem(f"lacks {name!r}; add `{field.example}`.", INFO_FILE)
        elif fault := field.fault(values[name]):
            yield problem(
                f"gives {name!r} as {reprlib.repr(values[name])}, which {fault}; write it like "
                f"`{field.example}`.",
                INFO_FILE,
                lines.get(name),
            )
    for name in values:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            remedy = (
                f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(FIELDS)}."
            )
            yield note(
                f"has {reprlib.repr(name)}, which is not a field; {remedy}",
                INFO_FILE,
                lines.get(name),
            )


def _agreement(folder: Folder, info: Info, lines: Mapping[str, int]) -> Iterator[Finding]:
    """Whether the file says what the folder says."""
    name = info.values.get("submission_name")
    if isinstance(name, str) and name.strip() and name != folder.home.name:
        yield note(
            f"calls the submission {reprlib.repr(name)}; records and leaderboard will call it "
            f"{folder.home.name!r}, as its folder.",
            INFO_FILE,
            lines.get("submission_name"),
        )
    if PLACEHOLDER in str(info.values.get("authors")):
        yield note("still has no authors; write their names.", INFO_FILE, lines.get("authors"))
    line = lines.get("framework")
    for framework in info.frameworks:
        if framework in folder.frameworks and framework not in folder.submissions:
            yield problem(
                f"names {FRAMEWORK_NAMES[framework]}, for which there is no submission.py; add it "
                "or leave the name out.",
                INFO_FILE,
                line,
            )
    for framework in folder.submissions if info.frameworks else ():
        if framework not in info.frameworks:
            own = folder.relative(folder.submissions[framework].path)
            yield problem(
                f"does not name {FRAMEWORK_NAMES[framework]}, for which there is {own}; add it.",
                INFO_FILE,
                line,
            )


def _listed(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(item).strip() for item in value]
    return [item.strip() for item in value.split(",")] if isinstance(value, str) else []


def _text_fault(value: Any) -> str | None:
    if not isinstance(value, str):
        return "is not text"
    return None if value.strip() else "is empty"


def _list_fault(value: Any) -> str | None:
    if isinstance(value, list) and value:
        return next(filter(None, map(_text_fault, value)), None)
    return _text_fault(value)


def _version_fault(value: Any) -> str | None:
    if not isinstance(value, str):
        return "YAML reads as a number unless it stands in quotes"
    try:
        Version(value)
    except InvalidVersion:
        return "is not a version"
    return None


def _license_fault(value: Any) -> str | None:
    if fault := _text_fault(value):
        return fault
    try:
        canonicalize_license_expression(value)
    except InvalidLicenseExpression:
        return "is not an SPDX identifier"
    return None


def _ruleset_fault(value: Any) -> str | None:
    return (
        None
        if isinstance(value, str) and value in RULESETS
        else f"is none of {', '.join(RULESETS)}"
    )


def _framework_fault(value: Any) -> str | None:
    known = [name.lower() for name in FRAMEWORK_NAMES.values()]
    named = _listed(value)
    if named and all(name.lower() in known for name in named):
        return None
    return f"is not of {', '.join(FRAMEWORK_NAMES.values())}"


FIELDS = {
    "submission_name": Field("submission_name: my_algorithm", _text_fault),
    "version": Field('version: "1.0"', _version_fault),
    "authors": Field("authors: Ada Lovelace, Carl Friedrich Gauss", _list_fault),
    "license": Field("license: Apache-2.0", _license_fault),
    "ruleset": Field("ruleset: external", _ruleset_fault),
    "framework": Field("framework: JAX, PyTorch", _framework_fault),
    "description": Field("description: AdamW with linear decay.", _text_fault),
    "paper": Field("paper: https://arxiv.org/abs/1711.05101", _list_fault, is_required=False),
    "affiliations": Field("affiliations: University of Y", _list_fault, is_required=False),
    "contact": Field("contact: ada@example.org", _list_fault, is_required=False),
    "submission_folder": Field("submission_folder: my_algorithm", _text_fault, is_required=False),
}
