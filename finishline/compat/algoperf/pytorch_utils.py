"""``algoperf.pytorch_utils``: which of the processes of a distributed run this one is."""

import os

import torch


def pytorch_setup() -> tuple[bool, int, torch.device, int]:
    """(Whether there are several ranks, the local rank, its device, the number of GPUs)."""
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if has_gpu else torch.device("cpu")
    return "LOCAL_RANK" in os.environ, local_rank, device, torch.cuda.device_count()
