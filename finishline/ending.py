"""How a worker ended, told in one way wherever it ran."""

import dataclasses
import enum
import signal


class Cause(enum.StrEnum):
    """What ended a worker.

    Attributes:
      EXITED: itself, or its own code.
      KILLED: something outside of it: a person, the kernel for want of memory on the host, the
        engine.
      OUT_OF_MEMORY: its own memory limit.
    """

    EXITED = "exited"
    KILLED = "killed"
    OUT_OF_MEMORY = "out_of_memory"


@dataclasses.dataclass(frozen=True)
class Ending:
    """The end of a worker.

    Attributes:
      cause: what ended it.
      text: how, to follow "The worker ", such as "exited with code 1".
    """

    cause: Cause
    text: str


def of_process(returncode: int) -> Ending:
    """The end of a process with this return code of ``subprocess`` (negative: the signal)."""
    if returncode >= 0:
        return Ending(Cause.EXITED, f"exited with code {returncode}")
    is_killed = -returncode in (signal.SIGKILL, signal.SIGTERM)
    name = signal.Signals(-returncode).name
    if is_killed:
        return Ending(
            Cause.KILLED, f"was ended from outside, perhaps for want of memory, by {name}"
        )
    return Ending(Cause.EXITED, f"was ended by {name}")
