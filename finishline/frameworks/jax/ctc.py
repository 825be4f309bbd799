"""Connectionist temporal classification in JAX: the loss, and greedy decoding.

Frames are labelled with tokens or with blank, and a sequence of tokens has the probability of all
labellings that give it when repetitions are merged and blanks are dropped. Blank is 0, which also
fills up targets. Source: Graves et al., 2006, "Connectionist temporal classification: Labelling
unsegmented sequence data with recurrent neural networks", ICML.

The PyTorch twin is ``finishline/frameworks/pytorch/ctc.py``.
"""

import jax
import jax.numpy as jnp
import optax

Array = jax.Array
Logits = tuple[Array, Array]  # (batch, frames, tokens), and paddings (batch, frames): 1 for padding

BLANK = 0


def ctc_loss(labels: Array, logits: Logits, label_smoothing: float) -> Array:
    """Minus the logarithm of the probability of ``labels``, (batch, length): (batch,).

    Where it is 0, because there are too few frames for the tokens, the loss is 0, and so is its
    gradient; ``num_tokens`` counts no token there. Label smoothing does not apply.
    """
    del label_smoothing
    scores, paddings = logits
    is_blank = (labels == BLANK).astype(scores.dtype)
    # It picks log-probabilities by a product of matrices, which must not round them.
    with jax.default_matmul_precision("highest"):
        losses = optax.ctc_loss(scores, paddings, labels, is_blank, blank_id=BLANK)
    return jnp.where(_is_feasible(labels, paddings), losses, 0)


def num_tokens(labels: Array, logits: Logits) -> Array:
    """How many tokens of each example have a loss: (batch,), in the dtype of the logits."""
    scores, paddings = logits
    counts = (labels != BLANK).sum(axis=-1).astype(scores.dtype)
    return jnp.where(_is_feasible(labels, paddings), counts, 0)


def greedy_decode(logits: Logits) -> Array:
    """The tokens of the likeliest labelling: int32, (batch, frames), filled up with 0."""
    scores, paddings = logits
    best = jnp.where(paddings > 0, BLANK, jnp.argmax(scores, axis=-1)).astype(jnp.int32)
    before = jnp.pad(best[:, :-1], ((0, 0), (1, 0)), constant_values=BLANK)
    tokens = jnp.where(best != before, best, BLANK)
    to_front = jnp.argsort(tokens == BLANK, axis=-1, stable=True)
    return jnp.take_along_axis(tokens, to_front, axis=-1)


def _is_feasible(labels: Array, paddings: Array) -> Array:
    """Whether there is a frame for each token, and one for a blank between equal tokens."""
    is_token = labels != BLANK
    is_repeated = (labels[:, 1:] == labels[:, :-1]) & is_token[:, 1:]
    num_frames = (1 - paddings).sum(axis=-1)
    return is_token.sum(axis=-1) + is_repeated.sum(axis=-1) <= num_frames
