"""A command line that was started under ``torchrun``, as AlgoPerf's users do.

Here the referee starts the ranks itself, so only the process of rank 0 goes on; the others end.
"""

import os


def is_surplus_rank() -> bool:
    """Whether this process is a rank other than 0 of a ``torchrun`` around the command."""
    return int(os.environ.get("RANK", "0")) != 0


def num_ranks() -> int | None:
    """How many ranks ``torchrun`` was asked for; None without ``torchrun``."""
    return int(os.environ["WORLD_SIZE"]) if "WORLD_SIZE" in os.environ else None
