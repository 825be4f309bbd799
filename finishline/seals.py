"""Seals on what no trial may change: records of others, data, harness and submissions."""

from collections.abc import Iterable
from pathlib import Path

from finishline import harness
from finishline.digests import sha256_of
from finishline.records import EVALS_FILE, EVENTS_FILE, META_FILE
from finishline.trial import TrialConfig
from finishline.workload import SPLITS

_RECORD = (META_FILE, EVENTS_FILE, EVALS_FILE)


class Seals:
    """Remembers the content of files, in this process alone, so that a change shows.

    The kernel keeps workers away from them where it can (``finishline.sandbox``); this tells where
    it cannot.
    """

    def __init__(self) -> None:
        self._digests: dict[Path, str | None] = {}

    def put_on(self, paths: Iterable[Path]) -> None:
        """Remembers how the files are now; also that they are not there."""
        self._digests.update({path: _digest(path) for path in paths})

    def take_off(self, paths: Iterable[Path]) -> None:
        """Lets the files change."""
        for path in paths:
            self._digests.pop(path, None)

    def broken(self) -> list[Path]:
        """The files that have changed."""
        return sorted(path for path, digest in self._digests.items() if _digest(path) != digest)


def record_files(trial: TrialConfig) -> list[Path]:
    """The files that say how a trial ended."""
    return [trial.run_dir / name for name in _RECORD]


def common_files(trials: Iterable[TrialConfig]) -> list[Path]:
    """Harness, submissions and data of the trials; of data the manifests, which have the hashes."""
    found = set(harness.source_files())
    for trial in trials:
        found.update(trial.submission.path.parent.rglob("*.py"))
        for split in SPLITS:
            folder = trial.workload.dataset.folder(trial.data_dir, split)
            found.update(folder.glob("*.json"))
    return sorted(found)


def _digest(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None
