"""Named sets of workloads, kept as data in ``workloads/suites.toml``."""

import dataclasses
import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path

_FILE = Path(__file__).resolve().parent.parent / "workloads" / "suites.toml"


@dataclasses.dataclass(frozen=True)
class Suite:
    """A set of workloads.

    Attributes:
      about: what it is, in a few words.
      workloads: their names.
    """

    about: str
    workloads: tuple[str, ...]


@functools.cache
def all_suites() -> Mapping[str, Suite]:
    """Every suite by name."""
    content = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return {
        name: Suite(entry["about"], tuple(entry["workloads"])) for name, entry in content.items()
    }
