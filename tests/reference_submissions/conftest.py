"""Lets the tests import ``battery`` and its workload, and gives them races."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="module")
def race():
    """``battery.Race``; what submissions add to ``sys.path`` goes after the tests of a module."""
    from battery import Race

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        yield Race
