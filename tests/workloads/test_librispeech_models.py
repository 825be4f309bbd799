"""The speech models: what padding, masks and the statistics of batches do to them."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity import QUICK_COMPILATION
from torch import nn

from finishline import spec
from finishline.data.prepared import blank_example
from finishline.frameworks.base import create_runtime
from finishline.frameworks.convert import flax_to_torch_state_dict
from finishline.workload import find_workload
from workloads.librispeech import frontend, layers_jax, layers_pytorch
from workloads.librispeech.position import frequencies

NAMES = [
    "librispeech_conformer",
    "librispeech_deepspeech",
    "librispeech_deepspeech_norm_and_spec_aug",
]
# Odd and even numbers of frames at each convolution; the last utterance fills the batch.
NUM_FRAMES = (37, 39, 60)


def utterances():
    """A batch whose padding is noise, which must not be heard."""
    lengths = np.array([frontend.num_samples(n) for n in NUM_FRAMES], np.int32)
    generator = np.random.default_rng(0)
    inputs = generator.integers(-3000, 3000, (len(lengths), lengths.max())).astype(np.int16)
    return {"inputs": inputs, "input_lengths": lengths}


def alone(batch, row):
    """One utterance of a batch without padding."""
    length = batch["input_lengths"][row]
    return {
        "inputs": batch["inputs"][row : row + 1, :length],
        "input_lengths": batch["input_lengths"][row : row + 1],
    }


def jax_function(workload):
    model = workload.build_model("jax")
    batch = jax.tree.map(jnp.asarray, utterances())
    fixed = {"train": False, "dropout_rate": 0.0}
    init = functools.partial(model.init, **fixed)
    variables = jax.jit(init, compiler_options=QUICK_COMPILATION)(jax.random.key(0), batch)
    apply = functools.partial(model.apply, variables, **fixed)
    return jax.jit(apply, compiler_options=QUICK_COMPILATION)


def torch_function(workload):
    torch.manual_seed(0)
    model = workload.build_model("pytorch").eval()

    def apply(batch):
        tensors = {name: torch.tensor(array) for name, array in batch.items()}
        with torch.no_grad():
            return tuple(x.numpy() for x in model(tensors, dropout_rate=0.0))

    return apply


@pytest.mark.parametrize("function", [jax_function, torch_function])
@pytest.mark.parametrize("name", NAMES)
def test_logits_do_not_depend_on_padding(name, function):
    apply = function(find_workload(name).shrunk())
    batch = utterances()
    logits, paddings = map(np.asarray, apply(batch))
    for row, num_frames in enumerate(NUM_FRAMES):
        count = math.ceil(num_frames / 4)
        assert (1 - paddings[row]).sum() == count
        expected, no_paddings = map(np.asarray, apply(alone(batch, row)))
        assert not no_paddings.any()
        np.testing.assert_allclose(logits[row, :count], expected[0], atol=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_an_utterance_of_full_length_has_500_frames(name):
    workload = find_workload(name)
    example = blank_example(workload.dataset.fields)
    model = workload.build_model("jax")

    def init_and_apply(batch):
        init = {"train": False, "dropout_rate": 0.0}
        return model.apply(model.init(jax.random.key(0), batch, **init), batch, **init)

    logits, paddings = jax.eval_shape(init_and_apply, example)
    assert (logits.shape, paddings.shape) == ((1, 500, 1024), (1, 500))


def small_runtimes(name):
    """Of both frameworks: runtime, parameters, state, key, and ``model_fn`` on one batch."""
    workload = find_workload(name).shrunk()
    batch = utterances() | {"targets": np.ones((len(NUM_FRAMES), 3), np.int32)}
    for framework in ("jax", "pytorch"):
        runtime = create_runtime(framework, workload, {"train": 1, "validation": 1, "test": 1})
        params, model_state = runtime.init_model(0, batch)
        (placed,) = runtime.place([batch])
        model_fn = runtime.workload.model_fn
        is_jax = framework == "jax"
        if is_jax:
            options = {"static_argnums": (3, 5), "compiler_options": QUICK_COMPILATION}
            model_fn = jax.jit(model_fn, **options)
        rng = jax.random.key(1) if is_jax else None
        yield runtime, params, model_state, rng, functools.partial(model_fn, params, placed)


@pytest.mark.parametrize("name", NAMES[:2])
def test_running_statistics_change_in_training_and_only_if_asked_to(name):
    for runtime, params, model_state, rng, model_fn in small_runtimes(name):
        before = runtime.snapshot(params, model_state)
        for mode, update, is_changed in (
            (spec.ForwardPassMode.EVAL, True, False),
            (spec.ForwardPassMode.TRAIN, False, False),
            (spec.ForwardPassMode.TRAIN, True, True),
        ):
            _, state = model_fn(model_state, mode, rng, update)
            after = runtime.snapshot(params, state)
            statistics = [n for n in before if "running" in n or n.startswith("batch_stats")]
            assert statistics
            for statistic in statistics:
                changed = not np.array_equal(before[statistic], after[statistic])
                assert changed is is_changed, statistic


@pytest.mark.parametrize("name", NAMES)
def test_features_are_masked_at_random_in_training_alone(name):
    for _, _, model_state, rng, model_fn in small_runtimes(name):

        def logits(mode, rng, model_state=model_state, model_fn=model_fn):
            (x, _), _ = model_fn(model_state, mode, rng, False, dropout_rate=0.0)
            return x.detach().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)

        train, evaluation = spec.ForwardPassMode.TRAIN, spec.ForwardPassMode.EVAL
        torch.manual_seed(0)
        first = logits(train, rng)
        other = logits(train, None if rng is None else jax.random.key(2))
        assert not np.allclose(first, other)
        torch.manual_seed(0)
        np.testing.assert_array_equal(first, logits(train, rng))
        np.testing.assert_array_equal(logits(evaluation, None), logits(evaluation, None))


def test_the_rate_of_dropout_may_be_traced():
    _, _, model_state, rng, model_fn = next(small_runtimes("librispeech_conformer"))

    def logits(rate):  # an argument of a jitted function, so it is traced
        mode = spec.ForwardPassMode.TRAIN
        (x, _), _ = model_fn(model_state, mode, rng, True, dropout_rate=rate)
        return x

    assert np.isfinite(logits(0.5)).all()
    assert not np.allclose(logits(0.5), logits(0.0))


def test_the_attention_temperature_scales_what_is_gathered():
    """Twice the scale is twice the weight of the layer that follows."""
    config = find_workload("librispeech_conformer").shrunk().model
    batch = {name: torch.tensor(array) for name, array in utterances().items()}
    results = []
    for scale, factor in ((1.6, 1.0), (1.0, 1.6)):
        torch.manual_seed(0)
        model = find_workload("librispeech_conformer").shrunk().model_module("pytorch").Model
        model = model(**{**config, "attention_scale": scale}).eval()
        with torch.no_grad():
            model.block_0.attention.out.weight.mul_(factor)
            results.append(model(batch, dropout_rate=0.0)[0])
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-5)


def test_layer_norm_is_that_of_the_library_with_one_more_in_the_scale():
    x = np.random.default_rng(0).normal(3, 2, (4, 10)).astype(np.float32)
    scale, bias = np.linspace(-1, 1, 10, dtype=np.float32), np.ones(10, np.float32)
    ours = layers_pytorch.LayerNorm(10)
    theirs = nn.LayerNorm(10, eps=1e-6)
    state = flax_to_torch_state_dict({"scale": scale, "bias": bias}, {})
    ours.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    theirs.load_state_dict({"weight": 1 + torch.tensor(scale), "bias": torch.tensor(bias)})
    expected = theirs(torch.tensor(x)).detach().numpy()
    params = {"params": {"scale": scale, "bias": bias}}
    in_jax = layers_jax.LayerNorm().apply(params, jnp.asarray(x))
    np.testing.assert_allclose(ours(torch.tensor(x)).detach(), expected, atol=1e-6)
    np.testing.assert_allclose(in_jax, expected, atol=1e-6)


def test_positions_are_sines_and_cosines_from_one_radian_a_frame():
    w = frequencies(8).astype(np.float64)
    np.testing.assert_allclose(w, [1, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3), 1e-4], rtol=1e-6)
    angles = np.arange(50)[:, None] * w
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(layers_jax.positions(50, 8), expected, atol=1e-5)
    np.testing.assert_allclose(layers_pytorch.Positions(8)(50), expected, atol=1e-5)
