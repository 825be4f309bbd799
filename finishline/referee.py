"""The referee: owns the clock, the seeds, the targets, the held-out data and the record.

It starts the worker, which runs the submission, and speaks with it over one socket. The clock runs
whenever the worker does, from before the import of the submission on. A snapshot's time is taken
when its bytes are in the referee's memory and the whole worker is frozen; what is measured is
those bytes. Nothing that the worker says about time, progress or metrics decides anything.
"""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finishline.bookkeeping import Bookkeeping
from finishline.channel import Channel, ChannelClosed, Frame, Listener, field, scalar_rows
from finishline.checkpoints import Checkpoint
from finishline.clock import Account
from finishline.display import Display
from finishline.errors import (
    InfrastructureError,
    RuleViolation,
    Status,
    SubmissionError,
)
from finishline.evaluator import Evaluator
from finishline.exchange import Exchange
from finishline.launch import WorkerProcess, describe_exit
from finishline.records import Event, RunDirectory
from finishline.recovery import Heartbeat
from finishline.trial import Outcome, TrialConfig
from finishline.worker import SNAPSHOT_FILE

_POLL_PERIOD = 0.25
_MAX_EARLY_SNAPSHOTS = 100
# torchrun ends the other ranks first. Seconds.
_END_TIMEOUT = 5.0
_KILLED = (-signal.SIGKILL, -signal.SIGTERM)


class Referee:
    """Runs one trial."""

    def __init__(
        self,
        config: TrialConfig,
        run: RunDirectory,
        create_evaluator: Callable[[], Evaluator],
        display: Display,
    ):
        self._config = config
        self._books = Bookkeeping(config, run, display)
        self._create_evaluator = create_evaluator
        self._evaluator: Evaluator
        self._display = display
        self._exchange = Exchange()
        self._target = config.workload.target
        self._step = 0
        self._last_eval_time = 0.0
        self._batch_size: int | None = None
        self._early_snapshots = 0
        self._heartbeat = Heartbeat(run.path)
        self._worker: WorkerProcess
        self._channel: Channel

    def run_trial(self) -> Outcome:
        """Runs the trial to its end; whatever happens becomes the status of the outcome."""
        try:
            outcome = self._run_guarded()
        finally:
            worker_memory = self._clean_up()
        self._books.end(outcome, self._early_snapshots, worker_memory)
        return outcome

    def _run_guarded(self) -> Outcome:
        try:
            checkpoint = self._recover()
            if checkpoint is not None and (verdict := self._earlier_verdict(checkpoint)):
                return verdict
            self._set_up_worker(checkpoint)
            if checkpoint is not None and (late := self._measure_late(checkpoint)):
                return late
            return self._race(checkpoint)
        except SubmissionError as error:
            return self._outcome(Status.SUBMISSION_ERROR, str(error))
        except RuleViolation as error:
            return self._outcome(Status.RULE_VIOLATION, str(error))
        except InfrastructureError as error:
            return self._outcome(Status.INFRASTRUCTURE_ERROR, str(error))
        except OSError as error:
            return self._outcome(Status.INFRASTRUCTURE_ERROR, f"{error}.")
        except ChannelClosed:
            return self._on_death()
        except KeyboardInterrupt:
            return self._outcome(
                Status.INTERRUPTED, "Stopped from outside; continue it with --resume."
            )

    # ---------------------------------------------------------------------------- set-up

    def _recover(self) -> Checkpoint | None:
        """The state to continue from, if the record has any."""
        recovery = self._books.start()
        if recovery is None:
            return None
        self._step = recovery.step
        self._last_eval_time = self._submission_time
        self._heartbeat.beat(self._step, self._submission_time)  # what was lost has been told
        return recovery.checkpoint

    def _earlier_verdict(self, checkpoint: Checkpoint) -> Outcome | None:
        """The end that a kill, right after the last evaluation, has kept out of the record."""
        event = self._evaluation_of(checkpoint)
        if event is None:
            return None
        self._last_eval_time = event["ledger"][Account.SUBMISSION]
        return self._verdict(event["target_is_met"], self._last_because(checkpoint))

    def _evaluation_of(self, checkpoint: Checkpoint) -> Event | None:
        evaluations = self._books.evaluations()
        return next((e for e in evaluations if e["step"] == checkpoint.step), None)

    def _last_because(self, checkpoint: Checkpoint) -> str | None:
        """Why nothing comes after the checkpoint; the flag may have changed since."""
        limit = self._config.max_global_steps
        if limit is not None and checkpoint.step >= limit:
            return "max_global_steps"
        because = checkpoint.meta["last_because"]
        return None if because == "max_global_steps" else because

    def _set_up_worker(self, checkpoint: Checkpoint | None) -> None:
        config = self._config
        listener = Listener(self._exchange.path / "socket")
        self._worker = WorkerProcess(
            listener.path,
            self._exchange.path,
            self._config.run_dir / "worker.log",
            framework=config.submission.framework,
            num_devices=config.num_devices,
            submission_path=config.submission.path,
        )
        # Takes as long as the worker's imports, which go on at the same time.
        self._evaluator = self._create_evaluator()
        self._channel = self._worker.accept(listener, self._display.tick)
        for name, path in (checkpoint.files if checkpoint else {}).items():
            self._exchange.put(path, name)
        self._channel.send("setup", **self._setup_content())
        self._worker.await_ready(self._channel, self._display.tick)

    def _setup_content(self) -> dict[str, Any]:
        config, seeds = self._config, self._config.seeds
        return {
            "workload": config.workload.name,
            "framework": config.submission.framework,
            "data_dir": str(config.data_dir),
            "exchange_dir": str(self._exchange.path),
            "submission_path": str(config.submission.path),
            "num_examples": self._evaluator.num_examples,
            "seeds": {"data": seeds.data, "init": seeds.init, "submission": seeds.submission},
            "overrides": {
                "max_allowed_runtime_sec": config.budget_sec,
                "eval_period_time_sec": config.workload.eval_period_time_sec,
                "step_hint": config.workload.step_hint,
                "dropout_rate": config.workload.dropout_rate,
            },
            "num_devices": config.num_devices,
            "compile_model": config.compile_model,
            "save_state": config.save_checkpoints,
            "max_global_steps": config.max_global_steps,
        }

    def _measure_late(self, checkpoint: Checkpoint) -> Outcome | None:
        """The evaluation that a kill prevented, from the checkpoint that was written before it."""
        if self._evaluation_of(checkpoint) is not None:
            return None
        arrays = self._evaluator.parse(checkpoint.files[SNAPSHOT_FILE].read_bytes())
        return self._judge(arrays, self._last_because(checkpoint))

    # ---------------------------------------------------------------------------- the race

    def _race(self, checkpoint: Checkpoint | None) -> Outcome:
        resume = None
        if checkpoint is not None:
            resume = {"step": checkpoint.step, "position": checkpoint.meta["position"]}
        self._books.ledger.switch(Account.SUBMISSION)
        self._channel.send(
            "start",
            hyperparameters=self._config.hyperparameters,
            resume=resume,
            eval_results=[(e["step"], e["metrics"]) for e in self._books.evaluations()],
            clock_readings=self._clock_readings(),
        )
        handlers = {
            "progress": self._on_progress,
            "batch_size": self._on_batch_size,
            "scalars": self._on_scalars,
            "snapshot": self._on_snapshot,
            "failed": self._on_failed,
        }
        while (left := self._config.budget_sec - self._submission_time) > 0:
            self._display.tick()
            self._heartbeat.beat(self._step, self._submission_time)
            if self._worker.output.is_flooded:
                raise SubmissionError("The submission wrote more than 16 MiB to its output.")
            try:
                frame = self._channel.receive(min(left, _POLL_PERIOD))
            except ChannelClosed:
                return self._on_death()
            if frame is None:
                continue
            if frame["type"] not in handlers:
                raise RuleViolation(f"The worker sent an unknown frame {frame['type']!r:.80}.")
            if outcome := handlers[frame["type"]](frame):
                return outcome
        return self._on_budget_spent()

    @property
    def _submission_time(self) -> float:
        return self._books.ledger.seconds(Account.SUBMISSION)

    def _clock_readings(self) -> dict[str, Any]:
        """What ``train_state`` shows; names as AlgoPerf's."""
        return {
            "validation_goal_reached": False,
            "test_goal_reached": any(self._test_met(e) for e in self._books.evaluations()),
            "is_time_remaining": True,
            "last_eval_time": self._last_eval_time,
            "training_complete": False,
            "accumulated_submission_time": self._submission_time,
            "accumulated_eval_time": self._books.ledger.seconds(Account.EVALUATION),
            "accumulated_logging_time": self._books.ledger.seconds(Account.RECORD_KEEPING),
            "last_step_end_time": None,
        }

    def _test_met(self, event: dict[str, Any]) -> bool:
        value = event["metrics"].get(f"test/{self._target.metric}")
        return value is not None and self._target.is_met(value, split="test")

    def _on_progress(self, frame: Frame) -> None:
        self._step = max(self._step, field(frame, "step", int))
        self._display.step(self._step)

    def _on_batch_size(self, frame: Frame) -> None:
        batch_size = field(frame, "global_batch_size", int)
        if self._batch_size is not None:
            raise RuleViolation("The worker announced a second batch size.")
        self._batch_size = batch_size
        self._books.record("batch_size", global_batch_size=batch_size)

    def _on_scalars(self, frame: Frame) -> None:
        self._books.scalars(scalar_rows(frame))

    def _on_failed(self, frame: Frame) -> None:
        message = str(frame.get("message"))[:2000]
        trace = str(frame.get("traceback"))[-8000:]
        self._books.record("failed", blame=frame.get("blame"), message=message, traceback=trace)
        # A rank may have failed only because another was killed.
        if self._config.num_devices > 1 and self._worker.wait(_END_TIMEOUT) in _KILLED:
            raise InfrastructureError(f"{self._death_text()} What followed: {message}")
        if frame.get("blame") == "submission":
            raise SubmissionError(f"{message}\n{trace}".strip())
        raise InfrastructureError(f"The worker failed: {message}\n{trace}".strip())

    def _on_death(self) -> Outcome:
        """The connection has ended without a word."""
        is_killed = self._worker.wait(_END_TIMEOUT) in _KILLED
        status = Status.INFRASTRUCTURE_ERROR if is_killed else Status.SUBMISSION_ERROR
        return self._outcome(status, self._death_text())

    def _death_text(self) -> str:
        returncode = self._worker.returncode
        text = f"The worker {describe_exit(returncode)} after step {self._step:,} without a result."
        tail = self._worker.output.tail()
        text += f" Its last output: {tail[-500:]}" if tail else ""
        if returncode in _KILLED:
            text += " Something outside of it, perhaps for want of memory, ended it."
        return text

    def _on_budget_spent(self) -> Outcome:
        return self._outcome(
            Status.BUDGET_SPENT,
            f"The budget of {self._config.budget_sec:g} s is spent after step {self._step:,}; "
            f"the target was not reached{self._best_text()}.",
        )

    # ---------------------------------------------------------------------------- snapshots

    def _on_snapshot(self, frame: Frame) -> Outcome | None:
        is_last = frame.get("last_because") is not None
        if not is_last and self._is_early():
            self._channel.send("refused", reason="the evaluation period has not passed")
            return None
        snapshot = self._exchange.read(SNAPSHOT_FILE, self._evaluator.snapshot_bytes)
        self._worker.tree.freeze()
        self._books.ledger.switch(Account.RECORD_KEEPING)
        if self._submission_time > self._config.budget_sec:
            return self._on_budget_spent()
        self._step = field(frame, "step", int)
        self._last_eval_time = self._submission_time
        arrays = self._evaluator.parse(snapshot)
        if self._config.save_checkpoints:
            self._save_checkpoint(snapshot, frame)
        outcome = self._judge(arrays, frame.get("last_because"))
        if outcome is None:
            self._resume_worker()
        return outcome

    def _is_early(self) -> bool:
        """Whether the evaluation period has not passed since the last evaluation."""
        since = self._submission_time - self._last_eval_time
        if since >= self._config.workload.eval_period_time_sec:
            return False
        self._early_snapshots += 1
        if self._early_snapshots == 1:
            self._books.record("early_snapshot", seconds_since_last=since)
        if self._early_snapshots > _MAX_EARLY_SNAPSHOTS:
            raise RuleViolation(
                f"The worker asked {self._early_snapshots} times for an evaluation before the "
                f"period of {self._config.workload.eval_period_time_sec:g} s had passed."
            )
        return True

    def _save_checkpoint(self, snapshot: bytes, frame: Frame) -> None:
        files: dict[str, bytes | Path] = {SNAPSHOT_FILE: snapshot}
        files |= {path.name: path for path in self._exchange.files("state_*.bin")}
        meta = {"position": field(frame, "position", int), "last_because": frame["last_because"]}
        self._books.checkpoint(self._step, files, field(frame, "not_saved", list), meta)

    def _judge(self, arrays: dict[str, Any], last_because: str | None) -> Outcome | None:
        """Measures a snapshot and records it; an outcome if the trial is over."""
        self._books.ledger.switch(Account.EVALUATION)
        try:
            metrics = self._evaluator.evaluate(arrays)
        except Exception as error:  # the reference model failed: not the submission's fault
            raise InfrastructureError(f"The evaluation failed: {error!r}") from error
        self._books.ledger.switch(Account.RECORD_KEEPING)
        return self._verdict(self._books.evaluation(self._step, metrics), last_because)

    def _verdict(self, is_met: bool, last_because: str | None) -> Outcome | None:
        """How the trial ends with the evaluation at the present step; None if it goes on."""
        if is_met and self._config.stop_at_target:
            return self._outcome(
                Status.TARGET_REACHED,
                f"validation/{self._target.metric} {self._books.best():.5g} after "
                f"{self._last_eval_time:.2f} s and {self._step:,} steps.",
            )
        if last_because == "max_global_steps":
            return self._outcome(
                Status.BUDGET_SPENT,
                f"--max_global_steps is reached at step {self._step:,}; the target was not"
                f"{self._best_text()}.",
            )
        if last_because is not None:
            return self._outcome(
                Status.TRAINING_COMPLETE,
                f"The submission ended its training at step {self._step:,} before the target was "
                f"reached{self._best_text()}.",
            )
        return None

    def _resume_worker(self) -> None:
        self._channel.send(
            "resume",
            metrics=self._books.evaluations()[-1]["metrics"],
            clock_readings=self._clock_readings(),
        )
        self._books.ledger.switch(Account.SUBMISSION)
        self._worker.tree.thaw()

    # ---------------------------------------------------------------------------- the end

    def _best_text(self) -> str:
        best = self._books.best()
        return "" if best is None else f", best validation/{self._target.metric} {best:.5g}"

    def _outcome(self, status: Status, message: str) -> Outcome:
        reached = status is Status.TARGET_REACHED
        return Outcome(
            status=status,
            message=message,
            submission_time=self._last_eval_time if reached else self._submission_time,
            step=self._step,
            best=self._books.best(),
        )

    def _clean_up(self) -> int:
        """Ends the worker; returns its peak memory in bytes."""
        self._books.ledger.switch(Account.RECORD_KEEPING)
        memory = 0
        if hasattr(self, "_worker"):
            memory = self._worker.tree.peak_memory_bytes()
            self._worker.kill()
        if hasattr(self, "_channel"):
            self._channel.close()
        self._exchange.remove()
        return memory
