"""Beam search in JAX. The PyTorch twin is ``workloads/wmt/beam_search_pytorch.py``."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from workloads.wmt.shape import END_ID, PAD_ID, length_penalty, num_candidates

Array = jax.Array
# (tokens (batch, beams), index, cache) -> (logits (batch, beams, vocabulary), cache). The tokens
# stand at position ``index`` of the decoder's input.
Step = Callable[[Array, Array, Any], tuple[Array, Any]]


class _State(NamedTuple):
    """How far a search is.

    Attributes:
      length: number of tokens that the beams have, ().
      scores: log-probabilities of the beams, (batch, beams); -inf for those that are none.
      tokens: of the beams, (batch, beams, max_length).
      best_scores: of the best sentences that have ended, (batch,); -inf where there is none.
      best_tokens: their tokens, (batch, max_length).
      cache: what ``Step`` keeps of the beams' earlier tokens.
    """

    length: Array
    scores: Array
    tokens: Array
    best_scores: Array
    best_tokens: Array
    cache: Any


def beam_search(
    step: Step, cache: Any, *, batch_size: int, beam_size: int, max_length: int
) -> Array:
    """The best sentence that the search finds for each example: (batch, max_length), int32.

    A step looks at the likeliest continuations of all beams together, ``num_candidates`` of them;
    equally likely ones come in the order of their beams, then of their tokens. Those that end
    compete for the best sentence by log-probability / ``length_penalty``; the best others are the
    next beams. It is over when no beam can become better than the best sentence that has ended.
    This finds the same best sentence as keeping as many ended sentences as there are beams. Source
    of the search: Wu et al., 2016, arXiv:1609.08144, section 7.

    After the end of a sentence comes padding. Where no sentence has ended within ``max_length``
    tokens, it is the likeliest beam, whole.

    Args:
      step: the model.
      cache: what it starts with; arrays with leading dimensions (batch, beams).
      batch_size: number of examples.
      beam_size: number of beams; 1 is greedy search.
      max_length: of a sentence with its end, in tokens.
    """
    first = jnp.where(jnp.arange(beam_size) == 0, 0.0, -jnp.inf)  # all beams are the same still
    state = _State(
        length=jnp.zeros((), jnp.int32),
        scores=jnp.tile(first, (batch_size, 1)).astype(jnp.float32),
        tokens=jnp.full((batch_size, beam_size, max_length), PAD_ID, jnp.int32),
        best_scores=jnp.full(batch_size, -jnp.inf, jnp.float32),
        best_tokens=jnp.full((batch_size, max_length), PAD_ID, jnp.int32),
        cache=cache,
    )

    def is_open(state: _State) -> Array:
        attainable = state.scores.max(axis=1) / length_penalty(max_length)
        return (state.length < max_length) & (attainable > state.best_scores).any()

    state = jax.lax.while_loop(is_open, lambda state: _advance(step, state), state)
    likeliest = jnp.argmax(state.scores, axis=1)
    has_ended = jnp.isfinite(state.best_scores)[:, None]
    return jnp.where(has_ended, state.best_tokens, _pick(state.tokens, likeliest[:, None])[:, 0])


def _advance(step: Step, state: _State) -> _State:
    """One token more for each beam."""
    index, beam_size = state.length, state.scores.shape[1]
    previous = jax.lax.dynamic_index_in_dim(
        state.tokens, jnp.maximum(index - 1, 0), axis=2, keepdims=False
    )
    logits, cache = step(jnp.where(index == 0, PAD_ID, previous), index, state.cache)
    vocab_size = logits.shape[-1]
    scores = jax.nn.log_softmax(logits.astype(jnp.float32)) + state.scores[:, :, None]
    flat = scores.reshape(len(scores), -1)  # (batch, beams * vocabulary)
    scores, chosen = jax.lax.top_k(flat, num_candidates(beam_size))  # (batch, candidates)
    parents, tokens = chosen // vocab_size, chosen % vocab_size
    is_end = tokens == END_ID

    ended = jnp.where(is_end, scores / length_penalty(index + 1), -jnp.inf)
    best = jnp.argmax(ended, axis=1)[:, None]
    best_scores = _pick(ended, best)[:, 0]
    best_tokens = _pick(state.tokens, _pick(parents, best))[:, 0].at[:, index].set(END_ID)
    is_better = best_scores > state.best_scores

    scores, chosen = jax.lax.top_k(jnp.where(is_end, -jnp.inf, scores), beam_size)
    parents = _pick(parents, chosen)
    return _State(
        length=index + 1,
        scores=scores,
        tokens=_pick(state.tokens, parents).at[:, :, index].set(_pick(tokens, chosen)),
        best_scores=jnp.where(is_better, best_scores, state.best_scores),
        best_tokens=jnp.where(is_better[:, None], best_tokens, state.best_tokens),
        cache=jax.tree.map(lambda leaf: _pick(leaf, parents), cache),
    )


def _pick(array: Array, indices: Array) -> Array:
    """Entries along axis 1: (batch, n, ...) and (batch, m) to (batch, m, ...)."""
    return jax.vmap(lambda rows, chosen: rows[chosen])(array, indices)
