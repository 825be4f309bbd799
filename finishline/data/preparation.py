"""Making a prepared split from originals: shard by shard, resumable, with progress."""

import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from finishline.data.progress import progress
from finishline.data.splits import SplitWriter, is_sound
from finishline.errors import UserError


class ShardContent(NamedTuple):
    """What one shard holds; see ``SplitWriter.write``."""

    arrays: Mapping[str, np.ndarray]
    records: Iterable[bytes] | None = None
    parts: Mapping[str, np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class ShardTask:
    """One shard to make.

    Attributes:
      key: its name; the order of the keys is the order of the shards.
      num_bytes: bytes of originals that are read for it, to measure progress.
      make: reads the originals. Can be pickled if several processes work.
    """

    key: str
    num_bytes: int
    make: Callable[[], ShardContent]


def prepare_split(
    folder: Path,
    tasks: Sequence[ShardTask],
    *,
    identity: Mapping[str, Any],
    disk_bytes: int,
    num_workers: int = 1,
) -> None:
    """Makes the split ``folder``, unless it is there and sound.

    After an interruption, the same call goes on after the shards that are finished.

    Args:
      folder: ``<data_dir>/<data set>/<split>``.
      tasks: the shards.
      identity: what the split is made of, as JSON; see ``SplitWriter``.
      disk_bytes: about how much the split will take.
      num_workers: how many processes work; with 1, this one.

    Raises:
      UserError: the disk has not enough space, or a task finds an original damaged.
    """
    if is_sound(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    writer = SplitWriter(folder, identity)
    missing = [task for task in tasks if not writer.has(task.key)]
    total = sum(task.num_bytes for task in tasks)
    left = sum(task.num_bytes for task in missing)
    check_disk(folder.parent, disk_bytes * left // max(1, total))
    label = f"{folder.parent.name}/{folder.name}"
    with progress(label, total, done=total - left) as advance:
        for task, entry in _made(writer, missing, num_workers):
            writer.note(task.key, entry)
            advance(task.num_bytes)
    writer.finish()


def prepare_in_order(
    folder: Path,
    tasks: Iterable[ShardTask],
    *,
    identity: Mapping[str, Any],
    num_bytes: int,
    disk_bytes: int,
) -> None:
    """``prepare_split`` where the shards come out of one stream, such as a compressed archive.

    After an interruption the stream is read through again, but finished shards are not made again.

    Args:
      folder: ``<data_dir>/<data set>/<split>``.
      tasks: the shards; each is made, or passed over, before the next is asked for.
      identity: what the split is made of, as JSON; see ``SplitWriter``.
      num_bytes: bytes of originals in all, to measure progress.
      disk_bytes: about how much the split will take.

    Raises:
      UserError: the disk has not enough space, or a task finds an original damaged.
    """
    if is_sound(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    writer = SplitWriter(folder, identity)
    check_disk(folder.parent, disk_bytes)
    with progress(f"{folder.parent.name}/{folder.name}", num_bytes) as advance:
        for task in tasks:
            if not writer.has(task.key):
                writer.note(task.key, _make(writer, task))
            advance(task.num_bytes)
    writer.finish()


def check_disk(folder: Path, needed: int) -> None:
    """Checks that ``needed`` bytes fit on the disk of ``folder``.

    Raises:
      UserError: they do not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"The data need about {format_bytes(needed)} in {folder}, and {format_bytes(free)} are "
            "free; free the rest or give another --data_dir."
        )


def format_bytes(count: float) -> str:
    """``count`` bytes in a unit that people read."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


@contextlib.contextmanager
def out_of_reach_of_interrupts() -> Iterator[None]:
    """Processes that are started meanwhile are never interrupted by Ctrl-C, only told to stop.

    A terminal sends it to all of them, and each would print what it was doing. This process is
    interrupted when they have started. To be used in the main thread.
    """
    received: list[int] = []
    resource_tracker.ensure_running()  # unblocks the signal when it starts
    handler = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    # The mask is for the processes, which inherit it: another thread may still take the signal.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    if received:
        raise KeyboardInterrupt


@contextlib.contextmanager
def told_of_killed_processes() -> Iterator[None]:
    """Turns the error that a process of a pool has been killed into a sentence with the remedy."""
    try:
        yield
    except concurrent.futures.BrokenExecutor as error:
        raise UserError(
            "A process that prepared data was killed, perhaps for want of memory; run the same "
            "command again, with fewer --num_workers: it goes on where it was."
        ) from error


def _made(
    writer: SplitWriter, tasks: Sequence[ShardTask], num_workers: int
) -> Iterator[tuple[ShardTask, dict[str, Any]]]:
    if num_workers <= 1:
        for task in tasks:
            yield task, _make(writer, task)
        return
    context = multiprocessing.get_context("spawn")  # this process may have threads
    with concurrent.futures.ProcessPoolExecutor(num_workers, context) as pool:
        try:
            with told_of_killed_processes():
                with out_of_reach_of_interrupts():
                    futures = {pool.submit(_make, writer, task): task for task in tasks}
                yield from _finished(futures)
        finally:
            pool.shutdown(cancel_futures=True)


def _finished(
    futures: Mapping[concurrent.futures.Future[dict[str, Any]], ShardTask],
) -> Iterator[tuple[ShardTask, dict[str, Any]]]:
    """What has been made. An error is raised after all that was under way has been handed out."""
    error: BaseException | None = None
    for future in concurrent.futures.as_completed(futures):
        if future.cancelled():
            continue
        if failure := future.exception():
            error = error or failure
            for other in futures:
                other.cancel()
        else:
            yield futures[future], future.result()
    if error is not None:
        raise error


def _make(writer: SplitWriter, task: ShardTask) -> dict[str, Any]:
    content = task.make()
    return writer.write(task.key, *content)
