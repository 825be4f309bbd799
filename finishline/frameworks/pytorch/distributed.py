"""The ranks of a PyTorch run, as ``torchrun`` describes them in the environment."""

import datetime
import os

import numpy as np
import torch
import torch.distributed as dist

# While the clock stands still all ranks are frozen, for as long as an evaluation takes.
_TIMEOUT = datetime.timedelta(days=7)


def rank() -> int:
    """The global rank of this process, 0 without ``torchrun``."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int:
    """The rank of this process on its machine, which is the number of its device."""
    return int(os.environ.get("LOCAL_RANK", 0))


def rank_part(array: np.ndarray) -> np.ndarray:
    """This rank's rows of ``array``: in all ranks together each row comes once."""
    if not dist.is_initialized():
        return array
    number, count, length = dist.get_rank(), dist.get_world_size(), len(array)
    return array[length * number // count : length * (number + 1) // count]


def sum_over_ranks(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of the ranks' tensors, on all of them; changes ``tensor``."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def joined(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of all ranks, in their order, on all of them; a rank without rows gives {}."""
    if not dist.is_initialized():
        return arrays
    parts: list[dict[str, np.ndarray]] = [{}] * dist.get_world_size()
    dist.all_gather_object(parts, arrays)
    parts = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class TorchRanks:
    """See ``finishline.frameworks.base.Ranks``."""

    def __init__(self) -> None:
        has_gpu = torch.cuda.is_available()
        if has_gpu:
            torch.cuda.set_device(local_rank())
        dist.init_process_group("nccl" if has_gpu else "gloo", timeout=_TIMEOUT)
        # Decisions travel on the CPU, so that they never wait for the device.
        self._control = dist.new_group(backend="gloo", timeout=_TIMEOUT)
        self.rank = dist.get_rank()
        self.world_size = dist.get_world_size()

    def broadcast(self, values: list[int]) -> list[int]:
        """Rank 0's integers, on every rank."""
        tensor = torch.tensor(values, dtype=torch.int64)
        dist.broadcast(tensor, src=0, group=self._control)
        return tensor.tolist()

    def barrier(self) -> None:
        """Waits until every rank has come here."""
        dist.barrier(group=self._control)
