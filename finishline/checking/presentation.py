"""The report for people: coloured on a terminal, plain lines elsewhere."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from finishline.checking.report import Level, Report, Section

_STYLES = {Level.PROBLEM: "bold red", Level.NOTE: "yellow", Level.HINT: "cyan"}


def show(report: Report, console: Console) -> None:
    """Prints the report; without a terminal each finding is one line."""
    console.print(Text(f"{report.folder}", style="bold"), soft_wrap=True)
    for section in report.sections:
        for line in _lines(section):
            console.print(line, soft_wrap=not console.is_terminal)
    console.print(_verdict(report), soft_wrap=True)


def _lines(section: Section) -> Iterator[Text]:
    mark, style = "ok", "green"
    if section.was_skipped:
        mark, style = "--", "dim"
    elif section.has_problems:
        mark, style = "NO", _STYLES[Level.PROBLEM]
    yield Text.assemble(
        (f"{mark}  ", style), (f"{section.name}: ", "bold"), _printable(section.summary)
    )
    for finding in section.findings:
        level = (f"    {finding.level.value}: ", _STYLES[finding.level])
        yield Text.assemble(level, _printable(str(finding)))
        for line in finding.details.splitlines():
            yield Text(f"      {_printable(line)}", style="dim")


def _printable(text: str) -> str:
    """Names of strangers' files must not steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _verdict(report: Report) -> Text:
    counts = [
        f"{count} {level.value}{'s' * (count != 1)}"
        for level in Level
        if (count := report.count(level)) or level is Level.PROBLEM
    ]
    counted = ", ".join(counts)
    if report.exit_code:
        return Text(f"{counted}: not ready to be scored.", style="bold red")
    return Text(f"{counted}: passed.", style="bold green")
