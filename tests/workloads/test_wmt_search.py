"""Beam search of both frameworks against plain Python, on tables and on real models."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity import QUICK_COMPILATION

from finishline.frameworks.convert import flax_to_torch_state_dict
from workloads.wmt import model_jax, model_pytorch
from workloads.wmt.beam_search_jax import beam_search as jax_search
from workloads.wmt.beam_search_pytorch import beam_search as torch_search
from workloads.wmt.shape import END_ID, PAD_ID, length_penalty

VOCAB_SIZE, MAX_LENGTH, BATCH = 7, 6, 5


def table(seed, scale=1.0):
    """Logits of the next token by example, position and previous token."""
    generator = np.random.default_rng(seed)
    shape = (BATCH, MAX_LENGTH, VOCAB_SIZE, VOCAB_SIZE)
    return (scale * generator.normal(size=shape)).astype(np.float32)


def log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def plain_search(logits_of, beam_size, max_length=MAX_LENGTH):
    """The textbook's: as many ended sentences are kept as there are beams, to the very end.

    ``logits_of`` maps the tokens so far to logits.
    """
    beams, ended = [(0.0, ())], []
    for index in range(max_length):
        candidates = [
            (score + log_probability, (*tokens, token))
            for score, tokens in beams
            for token, log_probability in enumerate(log_softmax(logits_of(tokens)))
        ]
        candidates.sort(key=lambda candidate: -candidate[0])  # stable
        candidates = candidates[: 2 * beam_size if beam_size > 1 else 1]
        over = [c for c in candidates if c[1][-1] == END_ID and c[0] > -math.inf]
        ended += [(score / length_penalty(index + 1), tokens) for score, tokens in over]
        ended = sorted(ended, key=lambda one: -one[0])[:beam_size]
        beams = [c for c in candidates if c[1][-1] != END_ID][:beam_size]
        if not beams:
            break
    best = ended[0][1] if ended else beams[0][1]
    return [*best, *[PAD_ID] * (max_length - len(best))]


@functools.partial(jax.jit, static_argnames="beam_size")
def search_in_jax(logits, beam_size):
    def step(previous, index, cache):
        return logits[jnp.arange(BATCH)[:, None], index, previous], cache

    return jax_search(step, (), batch_size=BATCH, beam_size=beam_size, max_length=MAX_LENGTH)


def search_in_pytorch(logits, beam_size):
    def step(previous, index, cache):
        return torch.tensor(logits)[torch.arange(BATCH)[:, None], index, previous]

    cache = [torch.zeros(MAX_LENGTH, BATCH * beam_size)]
    return torch_search(
        step, cache, batch_size=BATCH, beam_size=beam_size, max_length=MAX_LENGTH
    ).numpy()


def search_table(logits, beam_size):
    return np.asarray(search_in_jax(logits, beam_size)), search_in_pytorch(logits, beam_size)


def plain_table(logits, beam_size):
    return [
        plain_search(lambda t, e=e: logits[e, len(t), t[-1] if t else PAD_ID], beam_size)
        for e in range(BATCH)
    ]


@pytest.mark.parametrize("beam_size", [1, 2, 3, 4])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_both_searches_are_the_plain_one(beam_size, scale):
    for seed in range(4):
        logits = table(seed, scale)
        expected = plain_table(logits, beam_size)
        for found in search_table(logits, beam_size):
            np.testing.assert_array_equal(found, expected)


def test_a_wide_beam_finds_the_best_of_all_sentences():
    logits = table(5, 2.0)[:, :3]
    wide = np.concatenate([logits, np.zeros_like(logits)], axis=1)
    wide[:, 3:, :, END_ID] = -30.0  # nothing good ends later
    for example in range(BATCH):
        best = (-math.inf, ())
        for length in (1, 2, 3):
            for words in itertools.product(range(VOCAB_SIZE), repeat=length - 1):
                if END_ID in words:
                    continue
                sentence = (*words, END_ID)
                score = sum(
                    log_softmax(wide[example, i, sentence[i - 1] if i else PAD_ID])[token]
                    for i, token in enumerate(sentence)
                )
                best = max(best, (score / length_penalty(length), sentence))
        found = plain_search(
            lambda t, e=example: wide[e, len(t), t[-1] if t else PAD_ID], 60, MAX_LENGTH
        )
        assert tuple(found[: len(best[1])]) == best[1]
    for found in search_table(wide, 4):
        np.testing.assert_array_equal(found, plain_table(wide, 4))


def test_a_beam_of_one_is_greedy_search():
    for seed in range(6):
        logits = table(seed)
        expected = np.full((BATCH, MAX_LENGTH), PAD_ID)
        for example in range(BATCH):
            token = PAD_ID
            for index in range(MAX_LENGTH):
                token = logits[example, index, token].argmax()
                expected[example, index] = token
                if token == END_ID:
                    break
        for found in search_table(logits, 1):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_ties_go_to_the_first_beam_and_token(beam_size):
    equal = np.zeros((BATCH, MAX_LENGTH, VOCAB_SIZE, VOCAB_SIZE), np.float32)
    equal[1:3, :, :, 3:] = 1.0
    equal[2, 4:] = 0.0
    expected = plain_table(equal, beam_size)
    for found in search_table(equal, beam_size):
        np.testing.assert_array_equal(found, expected)


def test_a_sentence_without_an_end_is_taken_whole():
    logits = table(0)
    logits[..., END_ID] = -np.inf
    for found in search_table(logits, 4):
        assert (found != END_ID).all()
        np.testing.assert_array_equal(found, plain_table(logits, 4))
    logits[0, 2, :, END_ID] = 1e9  # after two tokens, in one example
    for found in search_table(logits, 4):
        assert found[0, 2] == END_ID
        assert (found[0, 3:] == PAD_ID).all()
        assert (found[1:] != END_ID).all()


OPTIONS = {
    "vocab_size": 8,
    "width": 16,
    "depth": 2,
    "mlp_width": 24,
    "num_heads": 2,
    "max_length": 10,
}


def sources(lengths, length=10, seed=0):
    """Sources, and targets of one token each."""
    generator = np.random.default_rng(seed)
    is_token = np.arange(length) < np.array(lengths)[:, None]
    batch = {}
    for side, here in (("inputs", is_token), ("targets", np.cumsum(is_token, axis=1) == 1)):
        batch[side] = np.where(here, generator.integers(4, 8, is_token.shape), 0)
        batch[f"{side}_segmentation"] = here
        batch[f"{side}_position"] = np.arange(length) * here
    return {name: array.astype(np.int32) for name, array in batch.items()}


@pytest.fixture(scope="module", params=[{}, {"is_post_norm": True, "query_scale": 4.0}])
def models(request):
    """The same random model in both frameworks; its sentences end sometimes."""
    model = model_jax.Model(**OPTIONS, **request.param)
    batch = jax.device_put(sources([10, 3]))
    init = jax.jit(functools.partial(model.init, train=False, dropout_rate=0.0))
    params = init(jax.random.key(1), batch)["params"]
    generator = np.random.default_rng(2)
    params = jax.tree.map(lambda x: x + 0.1 * generator.normal(size=x.shape).astype("f"), params)
    twin = model_pytorch.Model(**OPTIONS, **request.param).eval()
    state = flax_to_torch_state_dict(params, {})
    twin.load_state_dict({name: torch.tensor(array) for name, array in state.items()})

    @functools.partial(jax.jit, static_argnames="beam_size", compiler_options=QUICK_COMPILATION)
    def translate_in_jax(batch, beam_size):
        variables = {"params": params}
        return model.apply(variables, batch, beam_size, method=model_jax.Model.translate)

    return model, params, translate_in_jax, twin


def translate(models, batch, beam_size):
    _, _, translate_in_jax, twin = models
    from_jax = translate_in_jax(jax.device_put(batch), beam_size)
    with torch.inference_mode():
        tensors = {name: torch.tensor(array) for name, array in batch.items()}
        return np.asarray(from_jax), twin.translate(tensors, beam_size).numpy()


@pytest.mark.parametrize("beam_size", [1, 4])
def test_translations_of_models_are_those_without_a_cache(models, beam_size):
    """The plain search asks the whole model for each token."""
    model, params, *_ = models
    batch = sources([10, 1, 4, 7])
    apply = jax.jit(
        lambda batch: model.apply({"params": params}, batch, train=False, dropout_rate=0.0),
        compiler_options=QUICK_COMPILATION,
    )

    def logits_of(row, tokens):
        one = {name: array[row : row + 1] for name, array in batch.items()}
        is_token = (np.arange(10) <= len(tokens))[None]
        target = np.zeros((1, 10), np.int32)
        target[0, : len(tokens)] = tokens
        one |= {
            "targets": target,
            "targets_segmentation": is_token.astype(np.int32),
            "targets_position": (np.arange(10)[None] * is_token).astype(np.int32),
        }
        return np.asarray(apply(jax.device_put(one)))[0, len(tokens)]

    expected = [
        plain_search(lambda tokens, row=row: logits_of(row, tokens), beam_size, 10)
        for row in range(4)
    ]
    assert beam_size == 1 or any(END_ID in tokens for tokens in expected)
    for found in translate(models, batch, beam_size):
        np.testing.assert_array_equal(found, expected)


def test_translations_do_not_depend_on_the_batch(models):
    batch = sources([10, 1, 4, 7, 5, 5], seed=3)
    for whole, *alone in zip(
        translate(models, batch, 4),
        *(
            translate(models, {n: a[row : row + 1] for n, a in batch.items()}, 4)
            for row in range(6)
        ),
        strict=True,
    ):
        np.testing.assert_array_equal(whole, np.concatenate(alone))


def test_filling_does_no_harm(models):
    batch = {name: np.pad(array, ((0, 2), (0, 0))) for name, array in sources([10, 3]).items()}
    for padded, plain in zip(
        translate(models, batch, 4), translate(models, sources([10, 3]), 4), strict=True
    ):
        np.testing.assert_array_equal(padded[:2], plain)
