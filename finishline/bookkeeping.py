"""What the referee writes down about a trial, and shows to a person."""

import hashlib
from pathlib import Path
from typing import Any

from finishline import checkpoints
from finishline.channel import Frame, ScalarRows
from finishline.claims import read_data_wait
from finishline.clock import Account, Ledger
from finishline.display import Display
from finishline.errors import InfrastructureError
from finishline.host import surroundings
from finishline.processes import peak_memory_bytes
from finishline.records import HPARAMS_FILE, META_FILE, Event, RunDirectory, write_json
from finishline.recovery import Recovery, recover
from finishline.trial import Outcome, TrialConfig

# Optimizers keep several times the parameters; what goes far beyond only fills the disk.
_MAX_STATE_FACTOR = 50
_MAX_STATE_BYTES = 256 * 1024 * 1024
_MAX_SCALAR_ROWS = 100_000
_MAX_SHOWN_ROWS = 100


class Bookkeeping:
    """The record of one trial in the making.

    Attributes:
      ledger: where the wall time goes; continues an earlier one if the trial is resumed.
      resumes: how often the trial has been continued.
      data_wait_sec: seconds of submission time in which the training loop has waited for data. It
        is the worker's claim, and decides nothing.
    """

    def __init__(self, config: TrialConfig, run: RunDirectory, display: Display):
        self._config = config
        self._run = run
        self._display = display
        self._target = config.workload.target
        self._num_scalar_rows = 0
        self._unwritten_scalars: ScalarRows = []
        self._unsaved_told = False
        self.ledger = Ledger()
        self.resumes = 0
        self.data_wait_sec = 0.0
        self._earlier_data_wait = 0.0

    def start(self) -> Recovery | None:
        """Notes the start; returns what to continue from if the trial was interrupted."""
        self._display.start(self._config, self.ledger)
        write_json(self._run.path / HPARAMS_FILE, self._config.hyperparameters or {})
        self._write_meta(status="running", message="")
        recovery = recover(self._run)
        if recovery is not None:
            self._note_resume(recovery)
        self._run.record("trial_started", **self._config.describe())
        return recovery

    def _note_resume(self, recovery: Recovery) -> None:
        self.resumes = recovery.resumes
        self.ledger = Ledger(recovery.ledger)
        if recovery.checkpoint is not None:
            self._earlier_data_wait = recovery.checkpoint.meta.get("data_wait_sec", 0.0)
            self.data_wait_sec = self._earlier_data_wait
        self._display.start(self._config, self.ledger)
        for message in recovery.messages:
            self.tell(message)
        steps, seconds = recovery.lost_steps, recovery.lost_seconds
        self._run.record(
            "resumed",
            step=recovery.step,
            ledger=self.ledger.as_dict(),
            lost={"steps": steps, "seconds": seconds},
            cause=recovery.cause,
        )
        self._run.write_eval_view()
        self.tell(f"resumed at step {recovery.step:,}; lost: {steps:,} steps, {seconds:.1f} s.")

    def record(self, kind: str, **content: Any) -> None:
        """Appends an event."""
        self._run.record(kind, **content)

    def tell(self, text: str) -> None:
        """Appends a message and shows it."""
        self._run.record("message", text=text)
        self._display.message(text)

    def data_wait(self, frame: Frame) -> None:
        """Notes how long the training loop has waited for data, by what ``frame`` claims.

        Raises:
          RuleViolation: it cannot be.
        """
        most = self.ledger.seconds(Account.SUBMISSION) - self._earlier_data_wait
        self.data_wait_sec = self._earlier_data_wait + read_data_wait(frame, most)
        self._display.data_wait(self.data_wait_sec)

    def scalars(self, rows: ScalarRows) -> None:
        """Keeps scalars of the submission in memory, as many as any plot needs."""
        self._num_scalar_rows += len(rows)
        if self._num_scalar_rows <= _MAX_SCALAR_ROWS:
            self._unwritten_scalars += rows
        for step, values in rows[-_MAX_SHOWN_ROWS:]:
            self._display.scalars(step, values)

    def write_scalars(self) -> None:
        """Appends the scalars since the last call. Takes time: the clock must not be running."""
        rows, self._unwritten_scalars = self._unwritten_scalars, []
        if rows:
            self._run.record("scalars", rows=rows)

    def evaluation(self, step: int, metrics: dict[str, float], snapshot: bytes) -> bool:
        """Appends an evaluation of ``snapshot``; returns whether it meets the target.

        The first snapshot that does is kept, whether or not checkpoints are.
        """
        is_met = self._target.is_met(metrics[f"validation/{self._target.metric}"])
        if is_met and not any(event["target_is_met"] for event in self.evaluations()):
            self._keep(snapshot)
        self._run.record(
            "evaluation",
            step=step,
            metrics=metrics,
            ledger=self.ledger.as_dict(),
            data_wait_sec=self.data_wait_sec,
            resumes=self.resumes,
            target_is_met=is_met,
            snapshot_sha256=hashlib.sha256(snapshot).hexdigest(),
        )
        self._run.write_eval_view()
        self._display.evaluation(step, metrics)
        return is_met

    def _keep(self, snapshot: bytes) -> None:
        try:
            self._run.keep_snapshot(snapshot)
        except OSError as error:
            self.tell(f"The snapshot that met the target was not kept ({error.strerror}).")

    def evaluations(self) -> list[Event]:
        """The evaluations that count."""
        return self._run.evaluations()

    def calibration(self) -> list[dict[str, Any]] | None:
        """The calibrations before this attempt at the trial; None if there were none."""
        calibration = surroundings(self._run.events).get("calibration", {})
        return calibration.get("before", {}).get("attempts")

    def evaluation_of(self, step: int) -> Event | None:
        """The first evaluation after ``step`` steps, if there is one."""
        return next((event for event in self.evaluations() if event["step"] == step), None)

    def clock_readings(self, last_eval_time: float) -> dict[str, Any]:
        """What ``train_state`` shows; names as AlgoPerf's."""
        return {
            "validation_goal_reached": False,
            "test_goal_reached": any(self._test_met(e) for e in self.evaluations()),
            "is_time_remaining": True,
            "last_eval_time": last_eval_time,
            "training_complete": False,
            "accumulated_submission_time": self.ledger.seconds(Account.SUBMISSION),
            "accumulated_eval_time": self.ledger.seconds(Account.EVALUATION),
            "accumulated_logging_time": self.ledger.seconds(Account.RECORD_KEEPING),
            "last_step_end_time": None,
        }

    def _test_met(self, event: Event) -> bool:
        value = event["metrics"].get(f"test/{self._target.metric}")
        return value is not None and self._target.is_met(value, split="test")

    def best(self) -> float | None:
        """The best finite value of the deciding metric on the validation set."""
        key = f"validation/{self._target.metric}"
        values = [event["metrics"][key] for event in self.evaluations()]
        finite = [value for value in values if abs(value) < float("inf")]
        if not finite:
            return None
        return min(finite) if self._target.minimize else max(finite)

    def checkpoint(
        self, step: int, files: dict[str, bytes | Path], not_saved: list[Any], meta: dict[str, Any]
    ) -> None:
        """Brings a checkpoint to the disk. If that fails, the trial goes on without it."""
        if not_saved and not self._unsaved_told:
            self._unsaved_told = True
            parts = [str(part)[:200] for part in not_saved[:50]]
            self._run.record("not_in_checkpoints", parts=parts)
        snapshot_bytes = sum(
            len(content) for content in files.values() if isinstance(content, bytes)
        )
        try:
            state_bytes = sum(p.stat().st_size for p in files.values() if isinstance(p, Path))
            if state_bytes > _MAX_STATE_FACTOR * snapshot_bytes + _MAX_STATE_BYTES:
                raise OSError(27, f"its state has {state_bytes:,} bytes")
            meta = {**meta, "ledger": self.ledger.as_dict(), "data_wait_sec": self.data_wait_sec}
            checkpoints.save(self._run.checkpoints, step, files, meta)
        except OSError as error:
            self.tell(f"The checkpoint of step {step:,} was not written ({error.strerror}).")

    def end(self, outcome: Outcome, refused_snapshots: int, worker_memory: int) -> None:
        """Notes the end. A full disk must not hide the outcome from the person who waits."""
        result = {
            "status": outcome.status.value,
            "message": outcome.message,
            "submission_time": outcome.submission_time,
            "step": outcome.step,
            "ledger": self.ledger.as_dict(),
            "data_wait_sec": self.data_wait_sec,
            "resumes": self.resumes,
            "refused_snapshots": refused_snapshots,
            "peak_memory_bytes": {"referee": peak_memory_bytes(), "worker": worker_memory},
        }
        if outcome.is_discarded:
            result["discarded"] = True
        surrounding = surroundings(self._run.events)
        try:
            if self._run.log.restore():
                self.tell("The event log had been changed by others; it is restored.")
            self.write_scalars()
            self._run.record("trial_ended", **result)
            self._run.write_eval_view()
            self._run.write_measurements_view()
            self._write_meta(**result, **surrounding)
        except (InfrastructureError, OSError) as error:
            self._display.message(f"The end of the trial could not be recorded: {error}")
        self._display.end(outcome)

    def _write_meta(self, **how_it_went: Any) -> None:
        write_json(self._run.path / META_FILE, {**self._config.describe(), **how_it_went})
