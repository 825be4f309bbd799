"""``algoperf.profiler``: takes what it is given and measures nothing; the referee has the clock."""

import contextlib
from collections.abc import Iterator


class Profiler:
    """AlgoPerf's profiler, switched off."""

    def set_local_rank(self, local_rank: int) -> None:
        """Does nothing."""

    @contextlib.contextmanager
    def profile(self, action_name: str) -> Iterator[str]:
        """A context that does nothing."""
        yield action_name

    def summary(self) -> str:
        """An empty report."""
        return ""


PassThroughProfiler = Profiler
