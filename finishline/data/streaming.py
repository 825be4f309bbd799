"""Making a prepared split from originals that are read from beginning to end.

``finishline.data.preparation`` makes shards of which each can be made by itself. Here one stream,
such as a compressed file, is cut into as many shards as come. After an interruption streams are
read through again up to where they were; what is finished is not made again.
"""

import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from finishline.data.preparation import (
    ShardContent,
    check_disk,
    out_of_reach_of_interrupts,
    told_of_killed_processes,
)
from finishline.data.progress import progress
from finishline.data.splits import SplitWriter, is_sound

_LAST = "is_last"  # in a manifest's entry of a shard: nothing of its stream comes after it
_POLL = 1.0  # seconds


class StreamShard(NamedTuple):
    """The next shard of a stream.

    Attributes:
      content: what it holds.
      num_bytes: bytes of originals that were read for it, to measure progress.
      is_last: whether the stream ends with it.
    """

    content: ShardContent
    num_bytes: int
    is_last: bool


@dataclasses.dataclass(frozen=True)
class StreamTask:
    """A stream of originals.

    Attributes:
      key: its name; the order of the keys is the order of the streams.
      num_bytes: bytes of originals.
      make: reads the shards from the one of the given number on; at least one. Can be pickled if
        several processes work.
    """

    key: str
    num_bytes: int
    make: Callable[[int], Iterator[StreamShard]]

    def shard_key(self, number: int) -> str:
        """The key of the shard ``number``, from 0."""
        return f"{self.key}_{number:05d}"


def prepare_streams(
    folder: Path,
    tasks: Sequence[StreamTask],
    *,
    identity: Mapping[str, Any],
    disk_bytes: int,
    num_workers: int = 1,
) -> None:
    """Makes the split ``folder``, unless it is there and sound.

    Args:
      folder: ``<data_dir>/<data set>/<split>``.
      tasks: the streams; several may be worked on at once.
      identity: what the split is made of, as JSON; see ``SplitWriter``.
      disk_bytes: about how much the split will take.
      num_workers: how many processes work; with 1, this one.

    Raises:
      UserError: the disk has not enough space, or an original is damaged.
    """
    if is_sound(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    writer = SplitWriter(folder, identity)
    missing = [(task, start) for task in tasks if (start := _num_done(writer, task)) is not None]
    total = sum(task.num_bytes for task in tasks)
    left = sum(task.num_bytes for task, _ in missing)
    check_disk(folder.parent, disk_bytes * left // max(1, total))
    label = f"{folder.parent.name}/{folder.name}"
    with progress(label, total, done=total - left) as advance:
        for key, entry, num_bytes in _made(writer, missing, num_workers):
            writer.note(key, entry)
            advance(num_bytes)
    writer.finish()


_Made = tuple[str, dict[str, Any], int]  # key, entry in the manifest, bytes read


def _num_done(writer: SplitWriter, task: StreamTask) -> int | None:
    """How many shards of a stream are finished; None if all are."""
    number = 0
    while (entry := writer.entry(task.shard_key(number))) is not None:
        if entry[_LAST]:
            return None
        number += 1
    return number


def _shards(writer: SplitWriter, task: StreamTask, start: int) -> Iterator[_Made]:
    for number, shard in enumerate(task.make(start), start):
        key = task.shard_key(number)
        entry = writer.write(key, *shard.content)
        yield key, entry | {_LAST: shard.is_last}, shard.num_bytes


def _made(
    writer: SplitWriter, tasks: Sequence[tuple[StreamTask, int]], num_workers: int
) -> Iterator[_Made]:
    if num_workers <= 1:
        for task, start in tasks:
            yield from _shards(writer, task, start)
        return
    context = multiprocessing.get_context("spawn")  # this process may have threads
    with contextlib.ExitStack() as stack:
        with out_of_reach_of_interrupts():
            manager = stack.enter_context(context.Manager())
            made, stop = manager.Queue(), manager.Event()
            pool = concurrent.futures.ProcessPoolExecutor(num_workers, context)
            stack.callback(_end, pool, stop)
            futures = [pool.submit(_send, writer, task, start, made, stop) for task, start in tasks]
        with told_of_killed_processes():
            yield from _received(made, futures, stop)


def _end(pool: concurrent.futures.ProcessPoolExecutor, stop: Any) -> None:
    # In a thread of its own: this one may have been interrupted while it was waiting for an answer
    # of the manager, and would take that for the answer to this.
    stopping = threading.Thread(target=stop.set)
    stopping.start()
    stopping.join()
    pool.shutdown(cancel_futures=True)


def _send(writer: SplitWriter, task: StreamTask, start: int, made: Any, stop: Any) -> None:
    for shard in _shards(writer, task, start):
        made.put(shard)
        if stop.is_set():
            return


def _received(
    made: Any, futures: Sequence[concurrent.futures.Future[None]], stop: Any
) -> Iterator[_Made]:
    """What the processes put into the queue, until all have ended.

    An error ends them all, and is raised after all that was under way has been handed out.
    """
    error: BaseException | None = None
    while True:
        is_over = all(future.done() for future in futures)  # before the last look into the queue
        if error is None and (error := _first_error(futures)) is not None:
            stop.set()
            for future in futures:
                future.cancel()
        try:
            yield made.get(timeout=0 if is_over else _POLL)
        except queue.Empty:
            if is_over:
                break
    if error is not None:
        raise error


def _first_error(futures: Sequence[concurrent.futures.Future[None]]) -> BaseException | None:
    ended = (future for future in futures if future.done() and not future.cancelled())
    return next((error for future in ended if (error := future.exception())), None)
