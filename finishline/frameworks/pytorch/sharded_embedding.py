"""Embedding tables of which each rank holds a part of the rows.

All ranks have to look up together, with batches of one size. A rank's gradient is that of the mean
over the ranks, as ``DistributedDataParallel`` makes it for all other parameters; but it has the
gradients of its own rows alone, so norms over all parameters differ between the ranks.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from finishline.errors import InfrastructureError
from finishline.spec import ParameterType


class ShardedEmbedding(nn.Module):
    """The rows [rank * n, (rank + 1) * n) of a table; looks up all of them.

    A lookup gathers the numbers of all ranks' examples, which are small, on each rank; each looks
    up the rows that it holds; and these, zero where another rank has them, are summed to where
    their examples are. The gradient goes the same way back, and the table is never gathered.
    """

    parameter_types = {"weight": ParameterType.EMBEDDING}  # noqa: RUF012, a constant

    def __init__(self, rows: Tensor):
        """Keeps this rank's ``rows``, (n, features)."""
        super().__init__()
        self.weight = nn.Parameter(rows)

    @torch.compiler.disable
    def forward(self, ids: Tensor) -> Tensor:
        """The rows ``ids`` (batch, ...) of the whole table: (batch, ..., features)."""
        num_rows = len(self.weight)
        all_ids = _gathered(ids)  # (world_size * batch, ...)
        local = all_ids - dist.get_rank() * num_rows
        is_here = (local >= 0) & (local < num_rows)
        found = F.embedding(torch.where(is_here, local, 0), self.weight)
        return _SumToOwner.apply(found * is_here[..., None])


class _SumToOwner(torch.autograd.Function):
    """Sums (world_size * batch, ...) over the ranks; each keeps its (batch, ...)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        mine = x.new_empty(len(x) // dist.get_world_size(), *x.shape[1:])
        dist.reduce_scatter_tensor(mine, x.contiguous())
        return mine

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _gathered(gradient) / dist.get_world_size()


def shard_embeddings(model: nn.Module, names: Iterable[str]) -> None:
    """Replaces the tables with the weights ``names`` by this rank's parts of them.

    Raises:
      InfrastructureError: the ranks cannot share the rows of a table evenly.
    """
    ranks = dist.get_world_size()
    for name in names:
        path = name.rpartition(".")[0]
        table = model.get_parameter(name).detach()
        if len(table) % ranks:
            raise InfrastructureError(
                f"{ranks} devices cannot share the {len(table):,} rows of {name!r} evenly; leave "
                "out --shard_embeddings, or give another --num_devices."
            )
        model.set_submodule(path, ShardedEmbedding(_own_rows(table)))


def sharded_names(model: nn.Module) -> list[str]:
    """The names of the parameters of which each rank holds a part."""
    return [f"{path}.weight" for path, _ in _tables(model)]


def whole_state(model: nn.Module) -> dict[str, np.ndarray]:
    """Copies of ``model.state_dict()``'s arrays, with whole tables; called on all ranks at once."""
    tensors = model.state_dict().items()
    # Copied, because on the CPU .numpy() shares memory with the live parameters.
    state = {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors}
    for path, table in _tables(model):
        state[f"{path}.weight"] = _whole(table.weight.detach())
    return state


def own_state(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """What ``model.load_state_dict`` takes, from ``whole_state``'s arrays."""
    names = set(sharded_names(model))
    state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    return {name: _own_rows(t) if name in names else t for name, t in state.items()}


def _tables(model: nn.Module) -> Iterator[tuple[str, ShardedEmbedding]]:
    for path, module in model.named_modules():
        if isinstance(module, ShardedEmbedding):
            yield path, module


def _own_rows(table: Tensor) -> Tensor:
    # A copy, so that the whole table can be freed.
    return table.chunk(dist.get_world_size())[dist.get_rank()].clone()


def _whole(rows: Tensor) -> np.ndarray:
    """The table on the host; on the device is at most one more rank's part at a time."""
    ranks, count = dist.get_world_size(), len(rows)
    whole = np.empty((ranks * count, *rows.shape[1:]), rows.cpu().numpy().dtype)
    for rank in range(ranks):
        part = rows.clone() if rank == dist.get_rank() else torch.empty_like(rows)
        dist.broadcast(part, src=rank)
        whole[rank * count : (rank + 1) * count] = part.cpu().numpy()
    return whole


def _gathered(x: Tensor) -> Tensor:
    everyone = x.new_empty(dist.get_world_size() * len(x), *x.shape[1:])
    dist.all_gather_into_tensor(everyone, x.contiguous())
    return everyone
