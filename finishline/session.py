"""One worker from its start to its end: its processes, its channel and its exchange folder."""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Any

from finishline.channel import Channel, ChannelClosed, Frame, Listener
from finishline.checkpoints import Checkpoint
from finishline.claims import MAX_NOTE_BYTES, Failure, first_failure, read_note
from finishline.ending import Ending
from finishline.errors import InfrastructureError, RuleViolation, SubmissionError
from finishline.evaluator import Evaluator
from finishline.exchange import Exchange
from finishline.executors import Worker, WorkerJob
from finishline.failures import FAILURE_FILE
from finishline.trial import TrialConfig

SETUP_TIMEOUT = 1800.0  # seconds; opening a large data set takes minutes
_POLL_PERIOD = 0.25
# torchrun ends the other ranks first. Seconds.
_END_TIMEOUT = 5.0

# The snapshot's own file, and in the same room what is copied there for a resume.
_SNAPSHOTS = 2
# Adam's state has two arrays a parameter, others four.
_STATES = 4
_ROOM_FOR_CACHES = 16 * 1024 * 1024


class Session:
    """The worker of one trial.

    Args:
      config: the trial.
      tell: shows a sentence to a person, and records it.
      record: appends an event to the record.

    Attributes:
      evaluator: made while the worker starts.
      exchange: the folder through which arrays travel.
      channel: the connection.
      worker: the worker.
    """

    evaluator: Evaluator
    exchange: Exchange
    channel: Channel
    worker: Worker

    def __init__(
        self, config: TrialConfig, tell: Callable[[str], None], record: Callable[..., None]
    ):
        self._config = config
        self._tell = tell
        self._record = record

    def set_up(
        self,
        create_evaluator: Callable[[], Evaluator],
        checkpoint: Checkpoint | None,
        tick: Callable[[], None],
    ) -> None:
        """Starts the worker; returns when it is ready for the ``start`` frame.

        Args:
          create_evaluator: makes the evaluator; takes as long as the worker's imports, which go on
            at the same time.
          checkpoint: what the worker will continue from.
          tick: called a few times a second while waiting.

        Raises:
          InfrastructureError: the worker's set-up, which is all harness code, failed, or there is
            no room for the arrays.
        """
        self.exchange = self._config.executor.open_exchange()
        self._start()
        self.evaluator = create_evaluator()
        files = checkpoint.files if checkpoint else {}
        self._make_room(sum(path.stat().st_size for path in files.values()))
        self.channel = self._accept(tick)
        for name, path in files.items():
            self.exchange.put(path, name)
        self.channel.send("setup", **self._setup_content())
        self._await_ready(tick)

    def _start(self) -> None:
        self._listener = Listener(self.exchange.socket_path)
        self.exchange.hand_over(self.exchange.socket_path)
        self.worker = self._config.executor.start(self._job(), self.exchange)
        self._record("worker", when="started", **self.worker.describe())

    def _job(self) -> WorkerJob:
        config = self._config
        return WorkerJob(
            framework=config.submission.framework,
            num_devices=config.num_devices,
            data_dir=config.data_dir,
            train_dir=config.workload.dataset.folder(config.data_dir, "train"),
            submission_path=config.submission.path,
            log_path=config.run_dir / "worker.log",
        )

    def _accept(self, tick: Callable[[], None]) -> Channel:
        """The worker's connection."""
        deadline = time.monotonic() + SETUP_TIMEOUT
        while time.monotonic() < deadline and self.worker.ending() is None:
            channel = self._listener.accept(_POLL_PERIOD, frozenset(self.worker.pids()))
            if channel is not None:
                return channel
            tick()
        raise InfrastructureError(f"The worker did not start: {self.worker.output.tail()}")

    def _await_ready(self, tick: Callable[[], None]) -> None:
        """Waits for the end of the worker's set-up, in which only harness code runs."""
        deadline = time.monotonic() + SETUP_TIMEOUT
        while time.monotonic() < deadline:
            try:
                frame = self.channel.receive(_POLL_PERIOD)
            except ChannelClosed:
                break
            if frame is not None and frame["type"] == "ready":
                return
            if frame is not None:
                raise InfrastructureError(f"The worker's set-up failed: {frame.get('message')}")
            tick()
        raise InfrastructureError(f"The worker's set-up ended: {self.worker.output.tail()}")

    def _make_room(self, checkpoint_bytes: int) -> None:
        """Starts again with a folder on the disk if that in memory has too little room."""
        free, needed = self.exchange.free_bytes(), self._needed_bytes(checkpoint_bytes)
        if free >= needed:
            return
        told = (
            f"{self.exchange.path.parent} has {free / 1e6:,.0f} MB free; this trial needs about "
            f"{needed / 1e6:,.0f} MB for {self.evaluator.snapshot_bytes / 1e6:,.1f} MB of "
            "parameters, their checkpoint and caches"
        )
        if self.exchange.is_last_resort:
            raise InfrastructureError(f"{told}; {self.exchange.remedy}.")
        self._end_worker()
        self.exchange = self._config.executor.open_exchange(on_disk=True)
        self._tell(
            f"{told}. {self.exchange.path} on the disk is used instead; with more room in memory, "
            "such as Docker's --shm-size gives, snapshots take less time."
        )
        self._start()
        self._make_room(checkpoint_bytes)

    def _needed_bytes(self, checkpoint_bytes: int) -> int:
        config = self._config
        ranks = config.num_devices if config.submission.framework == "pytorch" else 1
        arrays = _SNAPSHOTS + (_STATES * ranks if config.save_checkpoints else 0)
        needed = arrays * self.evaluator.snapshot_bytes
        return max(needed, checkpoint_bytes) + _ROOM_FOR_CACHES

    def _setup_content(self) -> dict[str, Any]:
        config, seeds = self._config, self._config.seeds
        return {
            "workload": config.workload.name,
            "framework": config.submission.framework,
            **dataclasses.asdict(config.executor.paths(self._job(), self.exchange)),
            "num_examples": self.evaluator.num_examples,
            "seeds": {"data": seeds.data, "init": seeds.init, "submission": seeds.submission},
            "overrides": {
                "max_allowed_runtime_sec": config.budget_sec,
                "eval_period_time_sec": config.workload.eval_period_time_sec,
                "step_hint": config.workload.step_hint,
                "dropout_rate": config.workload.dropout_rate,
                "quirks": sorted(config.workload.quirks),
                "matmul_precision": config.workload.matmul_precision,
            },
            "num_devices": config.num_devices,
            "compile_model": config.compile_model,
            "shard_embeddings": config.shard_embeddings,
            "compat_shims": list(config.compat_plan.shims) if config.compat_plan else None,
            "save_state": config.save_checkpoints,
            "max_global_steps": config.max_global_steps,
        }

    def check_output(self) -> None:
        """Raises ``SubmissionError`` if the worker has printed too much."""
        if self.worker.output.is_flooded:
            raise SubmissionError("The submission wrote more than 16 MiB to its output.")

    def ending(self) -> Ending | None:
        """How the worker has ended; waits a little for its end."""
        return self.worker.ending(_END_TIMEOUT)

    def first_failure(self, frame: Frame | None = None) -> Failure | None:
        """The failure that ``frame`` or a file of another rank tells of, whichever was first."""
        claims = [] if frame is None else [frame]
        for path in self.exchange.files(FAILURE_FILE.format(rank="*")):
            with contextlib.suppress(RuleViolation):
                claims.append(read_note(self.exchange.read(path.name, MAX_NOTE_BYTES)))
        return first_failure([claim for claim in claims if claim])

    def death_text(self, ending: Ending | None, step: int) -> str:
        """How a worker ended that has not told it, after ``step`` steps."""
        how = ending.text if ending else "closed its connection"
        text = f"The worker {how} after step {step:,} without a result."
        tail = self.worker.output.tail()
        text += f" Its last output: {tail[-500:]}" if tail else ""
        return text

    def end(self) -> int:
        """Ends whatever has been started; returns the worker's peak memory in bytes."""
        memory = 0
        if hasattr(self, "worker"):
            memory = self.worker.peak_memory_bytes()
            self._note_end()
        self._end_worker()
        if hasattr(self, "channel"):
            self.channel.close()
        return memory

    def _note_end(self) -> None:
        ending = self.worker.ending()
        how = {"cause": "stopped", "text": "was stopped by the referee"}
        if ending is not None:
            how = {"cause": ending.cause.value, "text": ending.text}
        with contextlib.suppress(InfrastructureError):  # the trial's own end is noted in any case
            self._record("worker", when="ended", **how)

    def _end_worker(self) -> None:
        if hasattr(self, "worker"):
            self.worker.kill()
        if hasattr(self, "_listener"):
            self._listener.close()
        if hasattr(self, "exchange"):
            self.exchange.remove()
