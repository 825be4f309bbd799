"""What the submissions share is the same in both frameworks."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from finishline.recipes import batches
from finishline.recipes import jax as in_jax
from finishline.recipes import pytorch as in_pytorch
from finishline.workload import all_workloads

PEAK = 0.3
STEP_HINT = 200


@pytest.mark.parametrize("name", ["warmup_cosine", "warmup_linear", "constant_after_warmup"])
@pytest.mark.parametrize("warmup_factor", [0.0, 0.02, 0.1])
def test_schedules_agree(name, warmup_factor):
    hyperparameters = SimpleNamespace(
        learning_rate=PEAK, warmup_factor=warmup_factor, decay_steps_factor=0.9, end_factor=0.01
    )
    schedule = getattr(in_jax, name)(hyperparameters, STEP_HINT)
    factor = getattr(in_pytorch, name)(hyperparameters, STEP_HINT)
    for step in range(STEP_HINT + 20):
        np.testing.assert_allclose(schedule(step), PEAK * factor(step), atol=1e-6 * PEAK)
    assert max(factor(step) for step in range(STEP_HINT)) == 1.0


def test_optimizers_follow_the_schedule():
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizers = [torch.optim.SGD([p], lr=lr) for p, lr in zip(parameters, (1.0, 2.0), strict=True)]
    state = in_pytorch.init(lambda step: 1.0 / (1.0 + step), *optimizers)
    for step in range(4):
        rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
        assert rates == [1.0 / (1.0 + step), 2.0 / (1.0 + step)]
        for part in state["optimizers"] + state["schedulers"]:
            part.step()


def test_a_variant_has_the_batch_size_of_its_base():
    assert batches.get_batch_size("imagenet_resnet_gelu") == 1024
    assert batches.get_batch_size("criteo1tb_layernorm") == 262144
    assert batches.get_batch_size("criteo1tb_mini") == 512
    assert batches.get_batch_size("imagenet_resnet_mini") == 64
    assert batches.get_batch_size("unheard_of") == 64
    assert all(batches.get_batch_size(name) > 0 for name in all_workloads())
