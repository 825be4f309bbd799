"""``requirements.txt``: the packages that a submission needs beyond the benchmark's own."""

import contextlib
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from finishline.checking.folder import Folder
from finishline.checking.report import Finding, Section, note, problem

REQUIREMENTS_FILE = "requirements.txt"
CONSTRAINTS = Path(__file__).resolve().parent.parent.parent / "constraints.txt"
_COMMENT = re.compile(r"(^|\s)#.*")
_PATH_OR_URL = re.compile(r"^[\w.+-]+://|^\.{0,2}/|\.(whl|zip|tar\.gz)$")


def check_requirements(folder: Folder) -> Section:
    """Checks that each line is a package with a version, and none moves a pin."""
    path = folder.home / REQUIREMENTS_FILE
    strays = [
        note(
            f"is not read; packages beyond the benchmark's own belong into {REQUIREMENTS_FILE}.",
            folder.relative(other),
        )
        for other in folder.paths()
        if other != path and re.fullmatch(r"requirements.*\.txt|environment\.ya?ml", other.name)
    ]
    if not path.is_file():
        return Section("requirements", "none beyond the benchmark's own", tuple(strays))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fault = problem(f"cannot be read ({error}); save it as UTF-8.", path.name)
        return Section("requirements", path.name, (fault, *strays))
    lines = _lines(text)
    return Section("requirements", f"{len(lines)} packages", (*_findings(lines), *strays))


def _lines(text: str) -> dict[int, str]:
    """By number, the lines that are not empty, without comments."""
    stripped = {n: _COMMENT.sub("", line).strip() for n, line in enumerate(text.splitlines(), 1)}
    return {number: line for number, line in stripped.items() if line}


def _findings(lines: Mapping[int, str]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for number, line in lines.items():
        try:
            fault = _syntax_fault(line)
            requirement = Requirement(line) if fault is None else None
        except InvalidRequirement as error:
            told = str(error).splitlines()[0].rstrip(".")
            fault, requirement = f"is not a requirement ({told}); write `package==version`", None
        if requirement is None:
            yield problem(f"{line!r} {fault}.", REQUIREMENTS_FILE, number)
            continue
        name = canonicalize_name(requirement.name)
        if name in seen:
            yield problem(
                f"names {name} again, after line {seen[name]}; keep one of the two.",
                REQUIREMENTS_FILE,
                number,
            )
        seen[name] = number
        yield from _version_findings(requirement, number)


def _syntax_fault(line: str) -> str | None:
    if line.startswith("-"):
        return "is an option of pip; keep to lines like `package==version`"
    if line.endswith("\\"):
        return "goes on in the next line; keep each package on one"
    if _PATH_OR_URL.search(line) or "@" in line.split(";")[0]:
        return (
            "is a path or an address, and only what the package index has as a wheel is installed; "
            "write `package==version`, or put the source into the folder"
        )
    return None


def _version_findings(requirement: Requirement, line: int) -> Iterator[Finding]:
    name = canonicalize_name(requirement.name)
    pin = _pins().get(name)
    if pin is None:
        if not any(clause.operator in ("==", "===") for clause in requirement.specifier):
            yield note(
                f"{name} has no exact version, so that runs of other days may get another; write "
                f"`{name}==version`.",
                REQUIREMENTS_FILE,
                line,
            )
    elif pin not in requirement.specifier:
        yield problem(
            f"asks for {name}{requirement.specifier}, but the benchmark has {name}=={pin} for "
            "everyone; leave the line out or write that version.",
            REQUIREMENTS_FILE,
            line,
        )


@functools.cache
def _pins() -> Mapping[str, Version]:
    """The versions in ``constraints.txt``; those that are not there constrain nothing."""
    pins: dict[str, Version] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in _lines(CONSTRAINTS.read_text()).values():
            requirement = Requirement(line)
            clause = next(iter(requirement.specifier))
            pins[canonicalize_name(requirement.name)] = Version(clause.version)
    return pins
