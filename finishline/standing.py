"""Where a trial stands, and the outcomes that follow from it."""

from finishline.bookkeeping import Bookkeeping
from finishline.clock import Account
from finishline.errors import Status
from finishline.trial import Outcome, TrialConfig


class Standing:
    """How far a trial is.

    Attributes:
      step: training steps done, as far as known.
      last_eval_time: submission time of the last evaluation in seconds.
    """

    def __init__(self, config: TrialConfig, books: Bookkeeping):
        self._config = config
        self._books = books
        self.step = 0
        self.last_eval_time = 0.0

    @property
    def submission_time(self) -> float:
        """Submission time until now in seconds."""
        return self._books.ledger.seconds(Account.SUBMISSION)

    @property
    def time_left(self) -> float:
        """Seconds left in the budget; negative if it is overdrawn."""
        return self._config.budget_sec - self.submission_time

    def outcome(self, status: Status, message: str) -> Outcome:
        """The trial ends here and now."""
        reached = status is Status.TARGET_REACHED
        return Outcome(
            status=status,
            message=message,
            submission_time=self.last_eval_time if reached else self.submission_time,
            step=self.step,
            best=self._books.best(),
        )

    def budget_spent(self) -> Outcome:
        """The time is up."""
        return self.outcome(
            Status.BUDGET_SPENT,
            f"The budget of {self._config.budget_sec:g} s is spent after step {self.step:,}; "
            f"the target was not reached{self._best_text()}.",
        )

    def after_evaluation(self, is_met: bool, last_because: str | None) -> Outcome | None:
        """How the trial ends with the evaluation at the present step; None if it goes on.

        Args:
          is_met: whether the evaluation meets the target.
          last_because: see ``finishline.claims.Snapshot``.
        """
        metric = self._config.workload.target.metric
        if is_met and self._config.stop_at_target:
            return self.outcome(
                Status.TARGET_REACHED,
                f"validation/{metric} {self._books.best():.5g} after "
                f"{self.last_eval_time:.2f} s and {self.step:,} steps.",
            )
        if last_because == "max_global_steps":
            return self.outcome(
                Status.BUDGET_SPENT,
                f"--max_global_steps is reached at step {self.step:,}; the target was not"
                f"{self._best_text()}.",
            )
        if last_because is not None:
            return self.outcome(
                Status.TRAINING_COMPLETE,
                f"The submission ended its training at step {self.step:,} before the target was "
                f"reached{self._best_text()}.",
            )
        return None

    def _best_text(self) -> str:
        metric, best = self._config.workload.target.metric, self._books.best()
        return "" if best is None else f", best validation/{metric} {best:.5g}"
