"""Errors for people, and how a trial can end."""

import enum


class UserError(Exception):
    """Bad input. The message is one sentence that names the thing, its value and the remedy.

    The command lines print it without a traceback and exit with ``ExitCode.BAD_INPUT``.
    """


class SubmissionError(Exception):
    """The submission did something that ends its trial; the message says what."""


class RuleViolation(Exception):
    """The worker did something that the rules forbid; the message says what."""


class InfrastructureError(Exception):
    """The harness or the machine failed; not the submission's fault."""


class Status(enum.StrEnum):
    """How a trial ended. ``exit_code`` is what ``submission_runner.py`` returns for it."""

    TARGET_REACHED = "target_reached"
    BUDGET_SPENT = "budget_spent"
    TRAINING_COMPLETE = "training_complete"
    SUBMISSION_ERROR = "submission_error"
    RULE_VIOLATION = "rule_violation"
    INFRASTRUCTURE_ERROR = "infrastructure_error"
    INTERRUPTED = "interrupted"

    @property
    def exit_code(self) -> int:
        """What ``submission_runner.py`` returns."""
        return _EXIT_CODES[self]

    @property
    def is_final(self) -> bool:
        """Whether the trial is over for good; the others can be continued with ``--resume``."""
        return self not in (Status.INFRASTRUCTURE_ERROR, Status.INTERRUPTED)


BAD_INPUT_EXIT_CODE = 2

# A trial that ran by the rules and missed the target is a result, but not a success.
_EXIT_CODES = {
    Status.TARGET_REACHED: 0,
    Status.BUDGET_SPENT: 10,
    Status.TRAINING_COMPLETE: 11,
    Status.SUBMISSION_ERROR: 20,
    Status.RULE_VIOLATION: 21,
    Status.INFRASTRUCTURE_ERROR: 30,
    Status.INTERRUPTED: 130,
}
