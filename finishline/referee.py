"""The referee: owns the clock, the seeds, the targets, the held-out data and the record.

It starts the worker, which runs the submission, and speaks with it over one socket. The clock runs
whenever the worker does, from before the import of the submission on. A snapshot's time is taken
when its bytes are in the referee's memory and the whole worker is frozen; what is measured is
those bytes. Nothing that the worker says about time, progress or metrics decides anything.
"""

import contextlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finishline.bookkeeping import Bookkeeping
from finishline.channel import ChannelClosed, Frame, field, scalar_rows
from finishline.checkpoints import Checkpoint
from finishline.claims import Failure, Snapshot, read_snapshot
from finishline.clock import Account
from finishline.display import Display
from finishline.ending import Cause, Ending
from finishline.errors import InfrastructureError, RuleViolation, Status, SubmissionError
from finishline.evaluator import Evaluator
from finishline.records import RunDirectory
from finishline.recovery import Heartbeat
from finishline.session import Session
from finishline.standing import Standing
from finishline.surroundings import Surroundings
from finishline.trial import Outcome, TrialConfig
from finishline.worker import SNAPSHOT_FILE

_POLL_PERIOD = 0.25
_MAX_EARLY_SNAPSHOTS = 100


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
        self._session = Session(config, self._books.tell, self._books.record)
        self._create_evaluator = create_evaluator
        self._display = display
        self._standing = Standing(config, self._books)
        self._surroundings = Surroundings(config, self._books)
        self._batch_size: int | None = None
        self._early_snapshots = 0
        self._heartbeat = Heartbeat(run.path)

    def run_trial(self) -> Outcome:
        """Runs the trial to its end; whatever happens becomes the status of the outcome."""
        try:
            outcome = self._run_guarded()
        finally:
            self._books.ledger.switch(Account.RECORD_KEEPING)
            worker_memory = self._session.end()
        outcome = self._surroundings.after(outcome)
        self._books.end(outcome, self._early_snapshots, worker_memory)
        return outcome

    def _run_guarded(self) -> Outcome:
        try:
            return self._run()
        except SubmissionError as error:
            return self._standing.outcome(Status.SUBMISSION_ERROR, str(error))
        except RuleViolation as error:
            return self._standing.outcome(Status.RULE_VIOLATION, str(error))
        except InfrastructureError as error:
            return self._standing.outcome(Status.INFRASTRUCTURE_ERROR, str(error))
        except OSError as error:
            return self._standing.outcome(Status.INFRASTRUCTURE_ERROR, f"{error}.")
        except KeyboardInterrupt:
            return self._standing.outcome(
                Status.INTERRUPTED, "Stopped from outside; continue it with --resume."
            )
        except Exception as error:  # a defect of the harness must not leave a trial without an end
            return self._on_defect(error)

    def _run(self) -> Outcome:
        try:
            checkpoint = self._recover()
            if checkpoint is not None and (verdict := self._earlier_verdict(checkpoint)):
                return verdict
            self._surroundings.before()
            for warning in self._config.compat_warnings:
                self._books.tell(warning)
            self._session.set_up(self._create_evaluator, checkpoint, self._display.tick)
            if checkpoint is not None and (late := self._measure_late(checkpoint)):
                return late
            return self._race(checkpoint)
        except ChannelClosed:
            return self._on_death()

    # ---------------------------------------------------------------------------- going on

    def _recover(self) -> Checkpoint | None:
        """The state to continue from, if the record has any."""
        recovery = self._books.start()
        if recovery is None:
            return None
        self._standing.step = recovery.step
        self._standing.last_eval_time = self._standing.submission_time
        self._heartbeat.beat(
            self._standing.step, self._standing.submission_time
        )  # what was lost has been told
        return recovery.checkpoint

    def _earlier_verdict(self, checkpoint: Checkpoint) -> Outcome | None:
        """The end that a kill, right after the last evaluation, has kept out of the record."""
        event = self._books.evaluation_of(checkpoint.step)
        if event is None:
            return None
        self._standing.last_eval_time = event["ledger"][Account.SUBMISSION]
        return self._standing.after_evaluation(
            event["target_is_met"], self._last_because(checkpoint)
        )

    def _last_because(self, checkpoint: Checkpoint) -> str | None:
        """Why nothing comes after the checkpoint; the flag may have changed since."""
        limit = self._config.max_global_steps
        if limit is not None and checkpoint.step >= limit:
            return "max_global_steps"
        because = checkpoint.meta["last_because"]
        return None if because == "max_global_steps" else because

    def _measure_late(self, checkpoint: Checkpoint) -> Outcome | None:
        """The evaluation that a kill prevented, from the checkpoint that was written before it."""
        if self._books.evaluation_of(checkpoint.step) is not None:
            return None
        snapshot = checkpoint.files[SNAPSHOT_FILE].read_bytes()
        arrays = self._session.evaluator.parse(snapshot)
        return self._judge(arrays, snapshot, self._last_because(checkpoint))

    # ---------------------------------------------------------------------------- the race

    def _race(self, checkpoint: Checkpoint | None) -> Outcome:
        resume = None
        if checkpoint is not None:
            resume = {"step": checkpoint.step, "position": checkpoint.meta["position"]}
        self._books.ledger.switch(Account.SUBMISSION)
        self._session.channel.send(
            "start",
            hyperparameters=self._config.hyperparameters,
            resume=resume,
            eval_results=[(e["step"], e["metrics"]) for e in self._books.evaluations()],
            clock_readings=self._books.clock_readings(self._standing.last_eval_time),
        )
        handlers = {
            "progress": self._on_progress,
            "batch_size": self._on_batch_size,
            "scalars": self._on_scalars,
            "snapshot": self._on_snapshot,
            "failed": self._on_failed,
        }
        while (left := self._standing.time_left) > 0:
            self._display.tick()
            self._heartbeat.beat(self._standing.step, self._standing.submission_time)
            self._session.check_output()
            frame = self._session.channel.receive(min(left, _POLL_PERIOD))
            if frame is None:
                continue
            if frame["type"] not in handlers:
                raise RuleViolation(f"The worker sent an unknown frame {frame['type']!r:.80}.")
            if outcome := handlers[frame["type"]](frame):
                return outcome
        return self._standing.budget_spent()

    def _on_progress(self, frame: Frame) -> None:
        self._standing.step = max(self._standing.step, field(frame, "step", int))
        self._books.data_wait(frame)
        self._display.step(self._standing.step)

    def _on_batch_size(self, frame: Frame) -> None:
        batch_size = field(frame, "global_batch_size", int)
        if self._batch_size is not None:
            raise RuleViolation("The worker announced a second batch size.")
        self._batch_size = batch_size
        self._books.record("batch_size", global_batch_size=batch_size)

    def _on_scalars(self, frame: Frame) -> None:
        self._books.scalars(scalar_rows(frame))

    def _on_failed(self, frame: Frame) -> Outcome:
        # A rank may have failed only because another was killed, or failed before it.
        is_alone = self._config.num_devices == 1
        ending = None if is_alone else self._session.ending()
        failure = self._session.first_failure(frame)
        assert failure is not None
        return self._failed(failure, ending)

    def _on_death(self) -> Outcome:
        """The connection has ended without a word."""
        ending = self._session.ending()
        if failure := self._session.first_failure():
            return self._failed(failure, ending)
        text = self._session.death_text(ending, self._standing.step)
        return self._standing.outcome(_status_of(ending), text)

    def _failed(self, failure: Failure, ending: Ending | None) -> Outcome:
        self._note_failure(failure.blame, failure.message, failure.trace)
        if ending is not None and ending.cause is not Cause.EXITED:
            text = self._session.death_text(ending, self._standing.step)
            text += f" What followed: {failure.message}"
            return self._standing.outcome(_status_of(ending), text)
        if failure.blame == "submission":
            return self._standing.outcome(Status.SUBMISSION_ERROR, str(failure))
        return self._standing.outcome(Status.INFRASTRUCTURE_ERROR, f"The worker failed: {failure}")

    def _on_defect(self, error: Exception) -> Outcome:
        trace = "".join(traceback.format_exception(error))
        message = f"The harness itself failed: {type(error).__name__}: {error!s:.500}"
        with contextlib.suppress(InfrastructureError):
            self._note_failure("harness", message, trace)
        return self._standing.outcome(Status.INFRASTRUCTURE_ERROR, f"{message}\n{trace}")

    def _note_failure(self, blame: str, message: str, trace: str) -> None:
        self._books.record("failed", blame=blame, message=message, traceback=trace)

    # ---------------------------------------------------------------------------- snapshots

    def _on_snapshot(self, frame: Frame) -> Outcome | None:
        claim = read_snapshot(frame, self._standing.step, self._config.max_global_steps)
        self._books.data_wait(frame)
        if claim.last_because is None and self._is_early():
            reason = "the evaluation period has not passed"
            self._session.channel.send("refused", reason=reason)
            return None
        evaluator = self._session.evaluator
        snapshot = self._session.exchange.read(SNAPSHOT_FILE, evaluator.snapshot_bytes)
        self._session.worker.freeze()
        self._books.ledger.switch(Account.RECORD_KEEPING)
        if self._standing.time_left < 0:
            return self._standing.budget_spent()
        self._standing.step = claim.step
        self._standing.last_eval_time = self._standing.submission_time
        arrays = evaluator.parse(snapshot)
        self._books.write_scalars()
        if self._config.save_checkpoints:
            self._save_checkpoint(snapshot, claim)
        outcome = self._judge(arrays, snapshot, claim.last_because)
        if outcome is None:
            self._resume_worker()
        return outcome

    def _is_early(self) -> bool:
        """Whether the evaluation period has not passed since the last evaluation."""
        since = self._standing.submission_time - self._standing.last_eval_time
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

    def _save_checkpoint(self, snapshot: bytes, claim: Snapshot) -> None:
        files: dict[str, bytes | Path] = {SNAPSHOT_FILE: snapshot}
        files |= {path.name: path for path in self._session.exchange.files("state_*.bin")}
        lost = [str(part)[:200] for part in claim.lost[:50]]
        meta = {"position": claim.position, "last_because": claim.last_because, "lost": lost}
        self._books.checkpoint(self._standing.step, files, claim.not_saved, meta)

    def _judge(
        self, arrays: dict[str, Any], snapshot: bytes, last_because: str | None
    ) -> Outcome | None:
        """Measures the arrays of a snapshot and records it; an outcome if the trial is over."""
        self._books.ledger.switch(Account.EVALUATION)
        try:
            metrics = self._session.evaluator.evaluate(arrays)
        except Exception as error:  # the reference model failed: not the submission's fault
            raise InfrastructureError(f"The evaluation failed: {error!r}") from error
        self._books.ledger.switch(Account.RECORD_KEEPING)
        return self._standing.after_evaluation(
            self._books.evaluation(self._standing.step, metrics, snapshot), last_because
        )

    def _resume_worker(self) -> None:
        self._session.channel.send(
            "resume",
            metrics=self._books.evaluations()[-1]["metrics"],
            clock_readings=self._books.clock_readings(self._standing.last_eval_time),
        )
        self._books.ledger.switch(Account.SUBMISSION)
        self._session.worker.thaw()


def _status_of(ending: Ending | None) -> Status:
    """The status of a trial whose worker has ended without a word."""
    is_outside = ending is not None and ending.cause is Cause.KILLED
    return Status.INFRASTRUCTURE_ERROR if is_outside else Status.SUBMISSION_ERROR
