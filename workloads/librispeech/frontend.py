"""The constants of the log-mel front end, the same for both frameworks.

The features are those of HTK (Young et al., 2006, "The HTK Book", version 3.4, section 5): frames
of 25 ms every 10 ms, pre-emphasis, a Hann window, the power spectrum, triangular filters that are
linear on the mel scale, and the logarithm; then each bin by the mean and the standard deviation
that it has in LibriSpeech.

AlgoPerf's implementation reads one sample more than a frame has, 401, and drops it again; the
number of frames of 320,000 samples is 1,998 either way. It pre-emphasises within each frame, where
the first sample has no predecessor, but that sample has weight 0 in a periodic Hann window: so the
whole signal can be pre-emphasised at once. It takes a frame that begins within an utterance for a
part of it, even if padding follows; here a frame counts if it lies within the utterance as a whole,
and features beyond are 0, so that they do not depend on how far a batch is padded.
"""

import functools

import numpy as np

from workloads.librispeech.statistics import MEANS, STANDARD_DEVIATIONS

SAMPLE_RATE = 16_000  # hertz
FRAME = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
FFT_SIZE = 512
PRE_EMPHASIS = 0.97
SCALE = 2.0**-15  # of 16-bit samples
NUM_MELS = 80
LOWEST, HIGHEST = 125.0, 7600.0  # hertz: the outer edges of the first and the last filter
FLOOR = 1e-5  # of the filters' outputs, before the logarithm


def num_frames(num_samples: int) -> int:
    """How many whole frames lie in ``num_samples`` samples."""
    return max(0, (num_samples - FRAME) // HOP + 1)


def num_samples(num_frames: int) -> int:
    """The fewest samples in which ``num_frames`` whole frames lie."""
    return (num_frames - 1) * HOP + FRAME


def window() -> np.ndarray:
    """The periodic Hann window, float64, (FRAME,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)


@functools.cache
def mel_filters() -> np.ndarray:
    """Triangles on the mel scale, from edge to edge of their neighbours' peaks.

    The mel scale is 1127 log(1 + f / 700). The bin of frequency 0 counts in no filter.

    Returns:
      float64, (FFT_SIZE / 2 + 1, NUM_MELS).
    """
    first, last = _mels(np.array([LOWEST, HIGHEST]))
    edges = np.linspace(first, last, NUM_MELS + 2)
    bins = _mels(np.arange(FFT_SIZE // 2 + 1) * SAMPLE_RATE / FFT_SIZE)
    filters = [
        np.interp(bins, edges[i : i + 3], [0.0, 1.0, 0.0], left=0.0, right=0.0)
        for i in range(NUM_MELS)
    ]
    return np.stack(filters, axis=1)


def normalization() -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each mel bin: float64, (NUM_MELS,) each."""
    return np.array(MEANS), np.array(STANDARD_DEVIATIONS)


def _mels(hertz: np.ndarray) -> np.ndarray:
    return 1127.0 * np.log1p(hertz / 700.0)
