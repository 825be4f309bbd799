"""The work that shows how fast a GPU is just now; see ``finishline.calibration_work``."""

from collections.abc import Callable

import torch

_SIZE = 4096
_NUM_PRODUCTS = 4


def matmul(index: int, *, size: int = _SIZE) -> Callable[[], None]:
    """A function that multiplies (size, size) matrices on GPU ``index`` and waits for the end.

    Without a GPU it does so on the CPU.
    """
    device = torch.device("cuda", index) if torch.cuda.is_available() else torch.device("cpu")
    left = torch.ones(size, size, device=device)
    product = torch.empty_like(left)

    def work() -> None:
        for _ in range(_NUM_PRODUCTS):
            torch.matmul(left, left, out=product)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return work
