"""The referee's clock and ledger: where the wall time of a trial goes.

At every moment exactly one account runs, so the accounts add up to the wall time by construction.
"""

import enum
import time
from collections.abc import Mapping


class Account(enum.StrEnum):
    """What time is spent on. Only ``SUBMISSION`` counts in the result."""

    SETUP = "setup"
    SUBMISSION = "submission"
    EVALUATION = "evaluation"
    RECORD_KEEPING = "record_keeping"


class Ledger:
    """Seconds by account, on ``CLOCK_MONOTONIC`` in the referee's process.

    Args:
      carried_over: what earlier processes of the same trial have booked, for a resumed trial.
    """

    def __init__(self, carried_over: Mapping[str, float] | None = None):
        self._booked = dict.fromkeys(Account, 0.0)
        for name, seconds in (carried_over or {}).items():
            self._booked[Account(name)] = float(seconds)
        self._account = Account.SETUP
        self._since = time.monotonic()

    @property
    def running(self) -> Account:
        """The account that runs now."""
        return self._account

    def switch(self, account: Account) -> None:
        """Books the time so far and lets ``account`` run."""
        now = time.monotonic()
        self._booked[self._account] += now - self._since
        self._account, self._since = account, now

    def seconds(self, account: Account) -> float:
        """Seconds on ``account`` until now."""
        running = time.monotonic() - self._since if account is self._account else 0.0
        return self._booked[account] + running

    def total(self) -> float:
        """Seconds on all accounts until now."""
        return sum(self._booked.values()) + time.monotonic() - self._since

    def as_dict(self) -> dict[str, float]:
        """Seconds by the accounts' names, until now."""
        return {account.value: self.seconds(account) for account in Account}
