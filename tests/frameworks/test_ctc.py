"""Connectionist temporal classification: both frameworks against sums over all labellings."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from finishline.frameworks.jax import ctc as jax_ctc
from finishline.frameworks.jax.losses import compute_loss as jax_loss
from finishline.frameworks.pytorch import ctc as torch_ctc
from finishline.frameworks.pytorch.losses import compute_loss as torch_loss
from finishline.spec import LossType

NUM_TOKENS = 4
# Targets, filled up with 0, and how many frames there are of 5.
CASES = (
    ([1, 2, 3], 5),
    ([1, 2, 0], 5),
    ([2, 2, 0], 5),  # needs a blank between
    ([2, 2, 0], 3),  # in the only way
    ([3, 0, 0], 1),
    ([0, 0, 0], 4),  # nothing but blanks
    ([1, 1, 1], 5),
    ([2, 2, 0], 2),  # infeasible
    ([1, 2, 3], 2),  # infeasible
)
FEASIBLE = np.array([True] * 7 + [False] * 2)


def batch():
    generator = np.random.default_rng(1)
    labels = np.array([labels for labels, _ in CASES], np.int32)
    scores = generator.normal(scale=2.0, size=(len(CASES), 5, NUM_TOKENS)).astype(np.float32)
    frames = np.array([frames for _, frames in CASES])
    paddings = (np.arange(5) >= frames[:, None]).astype(np.float32)
    return labels, scores, paddings


def collapsed(labelling):
    merged = [token for token, _ in itertools.groupby(labelling)]
    return [token for token in merged if token]


def probability(labels, scores):
    """The sum over all labellings of ``scores``, (frames, tokens)."""
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    return sum(
        np.prod([probabilities[frame, token] for frame, token in enumerate(labelling)])
        for labelling in itertools.product(range(NUM_TOKENS), repeat=len(scores))
        if collapsed(labelling) == labels
    )


def in_jax(labels, scores, paddings, mask=None):
    mask = None if mask is None else jnp.asarray(mask)

    def summed(scores):
        logits = scores, jnp.asarray(paddings)
        loss = jax_loss(LossType.CTC_LOSS, jnp.asarray(labels), logits, mask)
        return loss["summed"], loss

    (_, loss), gradient = jax.value_and_grad(summed, has_aux=True)(jnp.asarray(scores))
    return {**jax.device_get(loss), "gradient": np.asarray(gradient)}


def in_torch(labels, scores, paddings, mask=None):
    leaf = torch.tensor(scores, requires_grad=True)
    logits = (leaf, torch.tensor(paddings))
    mask = None if mask is None else torch.tensor(mask)
    loss = torch_loss(LossType.CTC_LOSS, torch.tensor(labels), logits, mask)
    loss["summed"].backward()
    values = {name: value.detach().numpy() for name, value in loss.items()}
    return {**values, "gradient": leaf.grad.numpy()}


@pytest.mark.parametrize("function", [in_jax, in_torch])
def test_losses_are_those_of_all_labellings(function):
    labels, scores, paddings = batch()
    losses = function(labels, scores, paddings)["per_example"]
    for i, (targets, frames) in enumerate(CASES):
        likelihood = probability([t for t in targets if t], scores[i, :frames].astype(np.float64))
        assert (likelihood > 0) == FEASIBLE[i]
        expected = -np.log(likelihood) if likelihood > 0 else 0
        assert losses[i] == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("function", [in_jax, in_torch])
def test_infeasible_targets_neither_count_nor_teach(function):
    labels, scores, paddings = batch()
    result = function(labels, scores, paddings)
    tokens = (labels > 0).sum(axis=1)
    assert result["n_valid_examples"] == tokens[FEASIBLE].sum()
    assert not result["gradient"][~FEASIBLE].any()
    assert np.isfinite(result["gradient"]).all()


def test_frameworks_agree():
    labels, scores, paddings = batch()
    mask = np.array([1, 1, 0, 1, 1, 0, 1, 1, 0], np.float32)
    one, other = in_jax(labels, scores, paddings, mask), in_torch(labels, scores, paddings, mask)
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("function", [in_jax, in_torch])
def test_masked_examples_neither_count_nor_teach(function):
    labels, scores, paddings = batch()
    mask = np.zeros(len(CASES), np.float32)
    mask[0] = 1
    result = function(labels, scores, paddings, mask)
    assert result["n_valid_examples"] == 3
    assert result["summed"] == result["per_example"][0] > 0
    assert not result["gradient"][1:].any()


def test_padding_frames_are_not_heeded():
    labels, scores, paddings = batch()
    moved = np.where(paddings[..., None] > 0, 7 - scores, scores)
    for function in (in_jax, in_torch):
        one, other = (function(labels, s, paddings)["per_example"] for s in (scores, moved))
        np.testing.assert_array_equal(one, other)


def test_greedy_decoding_merges_and_drops():
    generator = np.random.default_rng(2)
    best = generator.integers(0, NUM_TOKENS, size=(64, 12))
    scores = np.eye(NUM_TOKENS, dtype=np.float32)[best]
    frames = generator.integers(0, 13, size=64)
    paddings = (np.arange(12) >= frames[:, None]).astype(np.float32)
    decoded = np.asarray(jax_ctc.greedy_decode((jnp.asarray(scores), jnp.asarray(paddings))))
    for row, labelling, count in zip(decoded, best.tolist(), frames, strict=True):
        expected = collapsed(labelling[:count])
        assert row.tolist() == expected + [0] * (12 - len(expected))
    others = torch_ctc.greedy_decode((torch.tensor(scores), torch.tensor(paddings)))
    np.testing.assert_array_equal(decoded, others.numpy())
    assert decoded.dtype == others.numpy().dtype == np.int32
