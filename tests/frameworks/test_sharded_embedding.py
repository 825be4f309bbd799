"""A table of which each device holds a part trains as one that all hold.

This module imports no JAX: two simulated devices and two ranks are processes of their own.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from finishline import spec
from finishline.errors import InfrastructureError
from finishline.frameworks.base import create_runtime
from finishline.frameworks.environment import prepare_environment
from finishline.workload import find_workload

COUNTS = dict.fromkeys(("train", "validation", "test"), 1)
BATCH_SIZE, STEPS, RATE = 32, 4, 0.5
TABLES = ("embedding_table.weight", "params/embedding_table/embedding")
VOCABULARY, DIM = 8192, 16


def batches():
    generator = np.random.default_rng(0)
    for _ in range(STEPS):
        yield {
            "inputs": generator.random((BATCH_SIZE, 13), np.float32),
            "categories": generator.integers(0, 10_000, (BATCH_SIZE, 26), np.int32),
            "targets": generator.integers(0, 2, (BATCH_SIZE, 1)).astype(np.float32),
        }


def snapshots(folder, name):
    return [load_file(f"{folder}/{name}_{when}.safetensors") for when in ("before", "after")]


def assert_same_training(folder, name):
    """The snapshots of the sharded and of the whole table are the same, before and after."""
    for one, other in zip(snapshots(folder, name), snapshots(folder, "whole"), strict=True):
        assert one.keys() == other.keys()
        for key in other:
            assert one[key].shape == other[key].shape
            error = np.linalg.norm(one[key] - other[key]) / np.linalg.norm(other[key])
            assert error <= 1e-5, (key, error)
    before, after = snapshots(folder, name)
    (table,) = (key for key in before if key in TABLES)
    assert before[table].shape == (VOCABULARY, DIM)
    assert 100 < (before[table] != after[table]).any(axis=1).sum() < 4 * BATCH_SIZE * 26


# --- PyTorch: two ranks


def train_pytorch(runtime, part):
    """Some steps of SGD with momentum; snapshots of before and after, and the model."""
    model, _ = runtime.init_model(3, {})
    before = runtime.snapshot(model, None)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.5)
    workload = runtime.workload
    for batch in batches():
        (mine,) = runtime.place([{name: array[part] for name, array in batch.items()}])
        optimizer.zero_grad()
        logits, _ = workload.model_fn(model, mine, None, spec.ForwardPassMode.TRAIN, None, True)
        loss = workload.loss_fn(mine["targets"], logits)
        (loss["summed"] / loss["n_valid_examples"]).backward()
        optimizer.step()
    return before, runtime.snapshot(model, None), (model, optimizer)


def _run_rank(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    runtime = create_runtime(
        "pytorch", find_workload("criteo1tb_mini"), COUNTS, num_devices=2, shard_embeddings=True
    )
    half = slice(rank * BATCH_SIZE // 2, (rank + 1) * BATCH_SIZE // 2)
    before, after, (model, optimizer) = train_pytorch(runtime, half)
    save_file(before, f"{folder}/rank{rank}_before.safetensors")
    save_file(after, f"{folder}/rank{rank}_after.safetensors")
    table = model.module.embedding_table.weight
    facts = {
        "shapes": [table.shape, table.grad.shape, optimizer.state[table]["momentum_buffer"].shape],
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    restored, _ = runtime.restore((model, None), before)
    facts["is_restored"] = all(
        np.array_equal(array, before[name])
        for name, array in runtime.snapshot(restored, None).items()
    )
    facts["is_in_place"] = restored.module.embedding_table.weight is table
    facts["odd"] = _refusal()
    torch.save(facts, f"{folder}/facts{rank}.pt")
    torch.distributed.destroy_process_group()


def _refusal():
    from finishline.frameworks.pytorch.sharded_embedding import shard_embeddings

    model = nn.Module()
    model.table = nn.Embedding(7, 2)
    with pytest.raises(InfrastructureError) as caught:
        shard_embeddings(model, ["table.weight"])
    return str(caught.value)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """The folder with what two ranks and one process with the whole table left."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(_run_rank, (str(folder),), nprocs=2)
    runtime = create_runtime("pytorch", find_workload("criteo1tb_mini"), COUNTS)
    before, after, _ = train_pytorch(runtime, slice(None))
    save_file(before, folder / "whole_before.safetensors")
    save_file(after, folder / "whole_after.safetensors")
    return folder


@pytest.mark.parametrize("rank", [0, 1])
def test_two_ranks_train_as_one_process_with_the_whole_table(ranks, rank):
    assert_same_training(ranks, f"rank{rank}")


@pytest.mark.parametrize("rank", [0, 1])
def test_each_rank_holds_half_of_the_table(ranks, rank):
    facts = torch.load(ranks / f"facts{rank}.pt", weights_only=False)
    assert set(facts["shapes"]) == {(VOCABULARY // 2, DIM)}
    whole = sum(a.size for a in snapshots(ranks, "whole")[0].values())
    assert facts["parameters"] == whole - VOCABULARY * DIM // 2


@pytest.mark.parametrize("rank", [0, 1])
def test_a_snapshot_is_restored_into_the_parameters_that_are_there(ranks, rank):
    facts = torch.load(ranks / f"facts{rank}.pt", weights_only=False)
    assert facts["is_restored"]
    assert facts["is_in_place"]


def test_rows_that_the_ranks_cannot_share_are_refused(ranks):
    facts = torch.load(ranks / "facts0.pt", weights_only=False)
    assert facts["odd"].startswith("2 devices cannot share the 7 rows of 'table.weight' evenly")


# --- JAX: two simulated devices


def train_jax(folder, name, num_devices):
    import jax

    runtime = create_runtime(
        "jax",
        find_workload("criteo1tb_mini"),
        COUNTS,
        num_devices=num_devices,
        shard_embeddings=num_devices > 1,
    )
    example = {key: array[:1] for key, array in next(batches()).items()}
    params, _ = runtime.init_model(3, example)
    save_file(runtime.snapshot(params, None), f"{folder}/{name}_before.safetensors")
    workload = runtime.workload

    @jax.jit
    def step(params, momentum, batch):
        def mean_loss(params):
            logits, _ = workload.model_fn(
                params, batch, None, spec.ForwardPassMode.TRAIN, None, True
            )
            loss = workload.loss_fn(batch["targets"], logits)
            return loss["summed"] / loss["n_valid_examples"]

        gradient = jax.grad(mean_loss)(params)
        momentum = jax.tree.map(lambda m, g: 0.5 * m + g, momentum, gradient)
        return jax.tree.map(lambda p, m: p - RATE * m, params, momentum), momentum

    momentum = jax.tree.map(lambda p: 0 * p, params)
    for batch in batches():
        params, momentum = step(params, momentum, next(iter(runtime.place([batch]))))
    save_file(runtime.snapshot(params, None), f"{folder}/{name}_after.safetensors")
    if num_devices > 1:
        _check_jax_placement(runtime, params, momentum, step, batch, folder)


def _check_jax_placement(runtime, params, momentum, step, batch, folder):
    def parts(tree):
        table = tree["embedding_table"]["embedding"]
        return {shard.data.shape for shard in table.addressable_shards}

    half = {(VOCABULARY // 2, DIM)}
    assert parts(params) == parts(momentum) == half
    assert params["output"]["kernel"].is_fully_replicated
    arrays = runtime.snapshot(params, None)
    restored, _ = runtime.restore((params, None), arrays)
    assert parts(restored) == half
    assert all(np.array_equal(a, arrays[k]) for k, a in runtime.snapshot(restored, None).items())
    path = Path(folder) / "state.bin"
    runtime.save_state(momentum, path)
    assert parts(runtime.load_state(momentum, path)) == half
    text = step.lower(params, momentum, next(iter(runtime.place([batch])))).compile().as_text()
    gathered = f"f32[{VOCABULARY},{DIM}]"
    assert gathered not in text, "a device has the whole table"


@pytest.fixture(scope="module")
def devices(tmp_path_factory):
    """The folder with what two simulated devices and one with the whole table left."""
    folder = tmp_path_factory.mktemp("devices")
    for name, count in (("sharded", 2), ("whole", 1)):
        command = [sys.executable, __file__, str(folder), name, str(count)]
        subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


def test_two_devices_train_as_one_with_the_whole_table(devices):
    assert_same_training(devices, "sharded")


if __name__ == "__main__":
    prepare_environment("jax", int(sys.argv[3]))
    train_jax(sys.argv[1], sys.argv[2], int(sys.argv[3]))
