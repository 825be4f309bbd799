"""How far long work on data has come: a bar on a terminal, else a line now and then."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

_LINE_PERIOD = 10.0  # seconds


@contextlib.contextmanager
def progress(label: str, total: int, *, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Shows how much of ``total`` bytes is done, on standard error.

    Args:
      label: what is being done.
      total: bytes in all.
      done: bytes that an earlier run has done.

    Yields:
      A function to call with the bytes that have been done since the last call.
    """
    with _bar(label, total, done) if sys.stderr.isatty() else _lines(label, total, done) as advance:
        yield advance


@contextlib.contextmanager
def _bar(label: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, completed=done)
        yield lambda count: bar.advance(task, count)


@contextlib.contextmanager
def _lines(label: str, total: int, done: int) -> Iterator[Callable[[int], None]]:
    started = time.monotonic()
    state = {"done": done, "next": started + _LINE_PERIOD}

    def advance(count: int) -> None:
        state["done"] += count
        now = time.monotonic()
        if now < state["next"]:
            return
        state["next"] = now + _LINE_PERIOD
        rate = (state["done"] - done) / (now - started)
        left = (total - state["done"]) / max(rate, 1.0)
        share = state["done"] / max(1, total)
        print(f"{label}: {share:.0%}, about {left / 60:.0f} min left", file=sys.stderr, flush=True)

    yield advance
