"""What both frameworks' Transformers share: their options, the search's, and positions."""

import dataclasses
from typing import Any

import numpy as np

PAD_ID, BEGIN_ID, END_ID, UNKNOWN_ID = 0, 1, 2, 3  # pieces of the vocabulary that are no text
BEAM_SIZE = 4
LENGTH_EXPONENT = 0.6
_LONGEST_WAVE = 10_000


@dataclasses.dataclass(frozen=True)
class BlockShape:
    """The options of the blocks of encoder and decoder.

    Attributes:
      width: features of a token.
      mlp_width: hidden features of the MLPs.
      num_heads: heads of each attention.
      activation: 'relu' or 'tanh', of the hidden features.
      is_gated: whether the hidden features f(W x + b) are multiplied by V x + c (Shazeer, 2020,
        "GLU variants improve Transformer", arXiv:2002.05202).
      is_post_norm: layer norm comes after each sum, x = norm(x + f(x)), not x = x + f(norm(x)).
      query_scale: see ``MultiHeadAttention``.
    """

    width: int
    mlp_width: int
    num_heads: int
    activation: str = "relu"
    is_gated: bool = False
    is_post_norm: bool = False
    query_scale: float = 1.0


def position_embedding(length: int, width: int) -> np.ndarray:
    """Sines and, in the second half of the features, cosines of the positions: (length, width).

    Source: Vaswani et al., 2017, "Attention is all you need", arXiv:1706.03762, section 3.5; the
    order of the features and the frequencies, whose last is exactly 1 / 10,000, are those of the
    implementation in Tensor2Tensor.
    """
    half = width // 2
    frequencies = float(_LONGEST_WAVE) ** -(np.arange(half) / (half - 1))
    angles = np.arange(length)[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def length_penalty(length: Any) -> Any:
    """((5 + length) / 6)^0.6, by which the log-probability of a sentence is divided.

    ``length`` counts the end of the sentence. Source: Wu et al., 2016, "Google's neural machine
    translation system", arXiv:1609.08144, equation 14.
    """
    return ((5 + length) / 6) ** LENGTH_EXPONENT


def num_candidates(beam_size: int) -> int:
    """How many continuations a step of the beam search looks at.

    Twice as many as there are beams, since up to half of them may be the ends of sentences. A
    beam of one is greedy search: it has ended as soon as its likeliest continuation is the end.
    """
    return 1 if beam_size == 1 else 2 * beam_size
