"""The ranks of a PyTorch run, as ``torchrun`` describes them in the environment."""

import datetime
import os
from collections.abc import Mapping

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


def rank_part(batch: Mapping[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """This rank's rows of each field: in all ranks together each row comes once.

    If fields have lengths of their own, their rows belong together, and one rank gets them all.

    Args:
      batch: the fields.
      number: of the batch, from 0, so that ranks take turns.
    """
    if not dist.is_initialized():
        return dict(batch)
    rank, count = dist.get_rank(), dist.get_world_size()
    if len({len(array) for array in batch.values()}) > 1:
        return {
            name: array if number % count == rank else array[:0] for name, array in batch.items()
        }
    return {
        name: array[len(array) * rank // count : len(array) * (rank + 1) // count]
        for name, array in batch.items()
    }


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
