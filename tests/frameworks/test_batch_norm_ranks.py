"""Batch norm over several processes. This module imports no JAX: each process imports it."""

import numpy as np
import torch

from finishline.frameworks.pytorch.layers import BatchNorm2d, MaskedBatchNorm


def whole_batch():
    generator = np.random.default_rng(0)
    return 3 + 2 * generator.normal(size=(6, 4, 5, 3)).astype(np.float32)


def _run_rank(rank, folder):
    """One of two processes: its half of a batch through batch norm; saves what comes out."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    x = torch.tensor(whole_batch()[3 * rank : 3 * rank + 3]).permute(0, 3, 1, 2).requires_grad_()
    results = batch_norm_results(BatchNorm2d(3), x, torch.arange(180.0).view(x.shape) + 180 * rank)
    torch.save(results, f"{folder}/{rank}.pt")
    mine = slice(3 * rank, 3 * rank + 3)
    torch.save(masked_results(mine), f"{folder}/masked{rank}.pt")
    torch.distributed.destroy_process_group()


def masked_results(rows):
    """Sequences of different lengths: the ranks have different numbers of frames."""
    sequences = torch.tensor(whole_batch()).flatten(1, 2)  # (batch, length, channels)
    paddings = (torch.arange(20) >= torch.tensor([20, 3, 11, 1, 0, 7])[:, None]).float()
    x = sequences[rows].requires_grad_()
    cotangent = torch.arange(360.0).view(sequences.shape)[rows]
    norm = MaskedBatchNorm(3)
    return batch_norm_results(lambda x: norm(x, paddings[rows]), x, cotangent, norm)


def batch_norm_results(function, x, cotangent, layer=None):
    layer = layer or function
    y = function(x)
    (y * cotangent).sum().backward()
    return {
        "output": y.detach(),
        "input gradient": x.grad,
        "weight gradient": layer.weight.grad,
        "bias gradient": layer.bias.grad,
        "mean": layer.running_mean,
        "variance": layer.running_var,
    }


def test_batch_norm_over_two_processes_is_that_of_the_whole_batch(tmp_path):
    torch.multiprocessing.spawn(_run_rank, (str(tmp_path),), nprocs=2)
    x = torch.tensor(whole_batch()).permute(0, 3, 1, 2).requires_grad_()
    whole = batch_norm_results(BatchNorm2d(3), x, torch.arange(360.0).view(x.shape))
    assert_joined([torch.load(tmp_path / f"{rank}.pt") for rank in range(2)], whole)
    masked = [torch.load(tmp_path / f"masked{rank}.pt") for rank in range(2)]
    assert_joined(masked, masked_results(slice(None)))


def assert_joined(ranks, whole):
    for name, expected in whole.items():
        parts = [rank[name] for rank in ranks]
        if name in ("output", "input gradient"):
            actual = torch.cat(parts)
        elif "gradient" in name:
            actual = sum(parts)  # DistributedDataParallel would add them up
        else:
            assert torch.equal(*parts)
            actual = parts[0]
        error = (actual - expected).norm() / expected.norm()
        assert error < 1e-5, (name, error)
