"""The machine around one trial: its state and its speed, before the worker starts and after."""

import dataclasses
import functools

from finishline.bookkeeping import Bookkeeping
from finishline.calibration import (
    OnDrift,
    calibrate,
    calibrate_after,
    calibrate_before,
    least_drift,
    least_noisy,
)
from finishline.errors import InfrastructureError, Status
from finishline.host import read_host
from finishline.trial import Outcome, TrialConfig

# With these the trial goes on, or begins anew, in any case.
_UNFINISHED = (Status.INFRASTRUCTURE_ERROR, Status.INTERRUPTED)
# What a submission has brought upon itself is no reason for a second try.
_RESULTS = (Status.TARGET_REACHED, Status.BUDGET_SPENT, Status.TRAINING_COMPLETE)


class Surroundings:
    """Reads the host and calibrates it; judges the drift.

    Args:
      config: the trial.
      books: its record.
    """

    def __init__(self, config: TrialConfig, books: Bookkeeping):
        self._config = config
        self._books = books
        self._measure = functools.partial(
            calibrate,
            config.submission.framework,
            config.num_devices,
            cpus=config.executor.cpus(),
        )

    def before(self) -> None:
        """Call before the worker starts.

        Raises:
          InfrastructureError: drift is to be an error, and the machine cannot be calibrated.
        """
        self._books.record("host", when="before", **read_host())
        if self._config.drift_policy is OnDrift.OFF:
            return
        try:
            attempts = calibrate_before(self._measure, self._config.max_drift)
        except InfrastructureError as error:
            if self._config.drift_policy is OnDrift.FAIL:
                raise
            self._books.tell(str(error))
            return
        self._books.record("calibration", when="before", attempts=attempts)

    def after(self, outcome: Outcome) -> Outcome:
        """Call when the worker has ended; returns what the drift makes of the outcome."""
        try:
            self._books.record("host", when="after", **read_host())
            if outcome.status in _UNFINISHED or self._config.drift_policy is OnDrift.OFF:
                return outcome
            return self._judge(outcome)
        except InfrastructureError:  # the log cannot be written; its end will say so
            return outcome
        except KeyboardInterrupt:
            message = "Stopped from outside at the last calibration; finish it with --resume."
            return dataclasses.replace(outcome, status=Status.INTERRUPTED, message=message)

    def _judge(self, outcome: Outcome) -> Outcome:
        earlier = self._books.calibration()
        if earlier is None:  # it could not be measured, or was switched off then
            return outcome
        before, limit = least_noisy(earlier), self._config.max_drift
        try:
            attempts = calibrate_after(self._measure, before, limit)
        except InfrastructureError as error:
            return self._respond(outcome, str(error))
        drift = least_drift(before, attempts)
        is_exceeded = abs(drift.share) > limit
        self._books.record(
            "calibration",
            when="after",
            attempts=attempts,
            drift=dataclasses.asdict(drift),
            is_exceeded=is_exceeded,
        )
        if not is_exceeded:
            return outcome
        text = f"The machine has changed: {drift.describe()}, more than --max_drift={limit:g}."
        return self._respond(outcome, text)

    def _respond(self, outcome: Outcome, text: str) -> Outcome:
        """Discards the outcome if that is wanted and it is a result, else warns."""
        if self._config.drift_policy is not OnDrift.FAIL or outcome.status not in _RESULTS:
            self._books.tell(text)
            return outcome
        return dataclasses.replace(
            outcome,
            status=Status.INFRASTRUCTURE_ERROR,
            message=f"{text} What it had come to: {outcome.message}",
            is_discarded=True,
        )
