"""The log-mel front end against librosa, and SpecAugment's masks, in both frameworks."""

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import torch
from scipy import stats

from workloads.librispeech import features_jax, features_pytorch, frontend

LENGTHS = np.array([32_000, 20_000, 17_001, 399, 0], np.int32)


def in_jax(audio, lengths):
    features, paddings = jax.jit(features_jax.log_mel)(jnp.asarray(audio), jnp.asarray(lengths))
    return np.asarray(features), np.asarray(paddings)


def in_torch(audio, lengths):
    features, paddings = features_pytorch.LogMel()(torch.tensor(audio), torch.tensor(lengths))
    return features.numpy(), paddings.numpy()


@pytest.fixture(scope="module")
def audio():
    """Noise, and after each utterance more of it, which must not be heeded."""
    generator = np.random.default_rng(0)
    loudness = np.array([3000, 300, 10, 1000, 1000])[:, None]
    return (generator.normal(size=(5, 32_000)) * loudness).astype(np.int16)


def by_librosa(samples):
    """The features of one utterance."""
    signal = librosa.effects.preemphasis(samples / 2.0**15, coef=0.97, zi=[0.0])
    # librosa puts the window into the middle of the transform's 512 samples.
    centred = np.pad(signal, (512 - 400) // 2)
    power = np.abs(librosa.stft(centred, n_fft=512, hop_length=160, win_length=400, center=False))
    mels = librosa.mel_frequencies(82, fmin=125, fmax=7600, htk=True)
    edges = librosa.hz_to_mel(mels, htk=True)[:, None]
    bins = librosa.hz_to_mel(librosa.fft_frequencies(sr=16_000, n_fft=512), htk=True)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    energies = np.maximum(np.minimum(rising, falling), 0) @ np.square(power)
    means, deviations = frontend.normalization()
    return (np.log(np.maximum(energies, 1e-5)).T - means) / deviations


@pytest.mark.parametrize("function", [in_jax, in_torch])
def test_features_are_librosas(function, audio):
    features, paddings = function(audio, LENGTHS)
    for row, length in enumerate(LENGTHS[:3]):
        expected = by_librosa(audio[row, :length].astype(np.float64))
        count = len(expected)
        np.testing.assert_allclose(features[row, :count], expected, atol=1e-4)
        assert not features[row, count:].any()
        assert paddings[row].tolist() == [0.0] * count + [1.0] * (len(paddings[row]) - count)
    assert paddings[3:].all()  # not a whole frame
    assert not features[3:].any()


def test_frameworks_agree(audio):
    for one, other in zip(in_jax(audio, LENGTHS), in_torch(audio, LENGTHS), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_double_precision_has_all_of_its_digits(audio):
    with jax.enable_x64(True):
        one, _ = in_jax(audio, LENGTHS)
    double = features_pytorch.LogMel().double()
    other, _ = double(torch.tensor(audio), torch.tensor(LENGTHS))
    np.testing.assert_allclose(one, other.numpy(), atol=1e-10)


@pytest.mark.parametrize("function", [in_jax, in_torch])
def test_features_do_not_depend_on_filling(function, audio):
    longer = np.pad(audio, ((0, 0), (0, 8_000)))
    features, paddings = function(audio, LENGTHS)
    count = features.shape[1]
    more_features, more_paddings = function(longer, LENGTHS)
    np.testing.assert_allclose(more_features[:, :count], features, atol=1e-5)
    np.testing.assert_array_equal(more_paddings[:, :count], paddings)


def test_twenty_seconds_are_1998_frames():
    assert frontend.num_frames(320_000) == 1998
    assert frontend.num_samples(1998) <= 320_000 < frontend.num_samples(1999)


def test_compiled_features_are_the_same(audio):
    compiled = torch.compile(features_pytorch.LogMel(), fullgraph=True, backend="aot_eager")
    inputs = torch.tensor(audio), torch.tensor(LENGTHS)
    for one, other in zip(compiled(*inputs), features_pytorch.LogMel()(*inputs), strict=True):
        torch.testing.assert_close(one, other)


BATCH, FRAMES, BINS = 2048, 160, 80


def masked_in_jax(seed, **options):
    """What is masked of features of ones: bool, (batch, frames, bins)."""
    features, paddings = jnp.ones((BATCH, FRAMES, BINS)), jnp.asarray(made_up_paddings())
    rng = jax.random.key(seed)
    return np.asarray(features_jax.spec_augment(features, paddings, rng, **options)) == 0


def masked_in_torch(seed, **options):
    features, paddings = torch.ones(BATCH, FRAMES, BINS), torch.tensor(made_up_paddings())
    generator = torch.Generator().manual_seed(seed)
    augmented = features_pytorch.spec_augment(features, paddings, generator, **options)
    return augmented.numpy() == 0


def true_lengths():
    return np.tile([160, 100, 41, 19], BATCH // 4)


def made_up_paddings():
    return (np.arange(FRAMES) >= true_lengths()[:, None]).astype(np.float32)


def runs(is_masked):
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_masked.astype(int), [0]])))
    return edges[1::2] - edges[::2]


@pytest.mark.parametrize("function", [masked_in_jax, masked_in_torch])
def test_time_masks_are_few_short_and_within_the_utterance(function):
    masked = function(0, num_freq_masks=0, num_time_masks=3)
    is_span = masked.all(axis=2)
    np.testing.assert_array_equal(masked, np.repeat(is_span[..., None], BINS, axis=2))
    for spans, length in zip(is_span, true_lengths(), strict=True):
        longest = int(0.05 * length)
        assert not spans[length:].any()
        assert spans.sum() <= 3 * longest
        assert len(runs(spans)) <= 3
    single = function(1, num_freq_masks=0, num_time_masks=1).all(axis=2)
    widths = single.sum(axis=1)
    for length in (160, 100, 41):
        counts = np.bincount(widths[true_lengths() == length])
        assert len(counts) == int(0.05 * length) + 1  # every width up to the largest
        assert stats.chisquare(counts).pvalue > 1e-4
    assert max(len(runs(spans)) for spans in single) == 1


@pytest.mark.parametrize("function", [masked_in_jax, masked_in_torch])
def test_frequency_masks_are_few_and_narrow(function):
    masked = function(0, num_time_masks=0, num_freq_masks=2)
    is_band = masked.all(axis=1)
    np.testing.assert_array_equal(masked, np.repeat(is_band[:, None], FRAMES, axis=1))
    assert is_band.sum(axis=1).max() <= 2 * 27
    assert max(len(runs(bands)) for bands in is_band) == 2
    widths = function(1, num_time_masks=0, num_freq_masks=1).all(axis=1).sum(axis=1)
    counts = np.bincount(widths)
    assert len(counts) == 28  # every width from 0 to 27
    assert stats.chisquare(counts).pvalue > 1e-4


def test_masks_have_the_same_distribution_in_both_frameworks():
    one, other = (f(3, num_time_masks=2) for f in (masked_in_jax, masked_in_torch))
    for axes in ((0, 1), (0, 2)):  # how often each bin and each frame is masked
        np.testing.assert_allclose(one.mean(axis=axes), other.mean(axis=axes), atol=0.05)
    shares = [masked.mean(axis=(1, 2)) for masked in (one, other)]
    assert stats.ks_2samp(*shares).pvalue > 1e-4
