"""Gives the tests of the page made-up boards and a browser."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from chromium import CHROMIUM, Tab
from made_up_board import Board


@pytest.fixture(scope="session")
def make_board() -> type[Board]:
    return Board


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    tab = Tab(tmp_path_factory.mktemp("chromium"))
    yield tab
    tab.close()
