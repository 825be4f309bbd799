"""Progress of long work: a line drawn anew on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

_Item = TypeVar("_Item")
_FIRST_AFTER = 1.0  # seconds; what is done by then needs no progress
_TERMINAL_PERIOD = 0.2
_PLAIN_PERIOD = 10.0


def track(items: Sequence[_Item], what: str) -> Iterator[_Item]:
    """Yields ``items`` and tells on the standard error how many are done and how long it takes.

    Args:
      items: what the work is done on.
      what: what it is, such as "trials checked".
    """
    is_terminal = sys.stderr.isatty()
    start = time.monotonic()
    due = start + _FIRST_AFTER
    is_shown = False
    for done, item in enumerate(items):
        now = time.monotonic()
        if now >= due:
            due = now + (_TERMINAL_PERIOD if is_terminal else _PLAIN_PERIOD)
            left = (now - start) / done * (len(items) - done) if done else 0.0
            text = f"{done:,} of {len(items):,} {what}, about {left:.0f} s left"
            if is_terminal:
                print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
            else:
                print(text, file=sys.stderr, flush=True)
            is_shown = True
        yield item
    if is_shown and is_terminal:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
