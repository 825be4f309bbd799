"""Fresh processes, in which nothing of the audit's own is loaded."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent.parent


def run_module(name: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a module of this checkout and waits for it; ``stdout`` has all that it printed."""
    return subprocess.run(
        [sys.executable, "-m", name, *arguments],
        # Nothing comes from the current folder, which may be that of a submission.
        env={**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONSAFEPATH": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
