"""``torchrun``, but killed if a rank was killed.

By itself torchrun exits with code 1 however a rank ended. The referee could not tell then whether
a rank was killed from outside, perhaps for want of memory, or failed by itself.
"""

import os
import signal

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

if __name__ == "__main__":
    try:
        main()
    except ChildFailedError as error:
        if any(failure.exitcode == -signal.SIGKILL for failure in error.failures.values()):
            os.kill(os.getpid(), signal.SIGKILL)
        raise
