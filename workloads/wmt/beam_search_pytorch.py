"""Beam search in PyTorch. For the algorithm see the JAX twin, ``beam_search_jax``."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from workloads.wmt.shape import END_ID, PAD_ID, length_penalty, num_candidates

# (tokens (batch, beams), index, cache) -> logits (batch, beams, vocabulary). The tokens stand at
# position ``index`` of the decoder's input; the cache is written to.
Step = Callable[[Tensor, int, Sequence[Tensor]], Tensor]


def beam_search(
    step: Step, cache: Sequence[Tensor], *, batch_size: int, beam_size: int, max_length: int
) -> Tensor:
    """The best sentence that the search finds for each example: (batch, max_length), int64.

    Args:
      step: the model.
      cache: what it starts with; tensors of (max_length, batch * beams, ...) whose entries from
        ``index`` on mean nothing. At least one.
      batch_size: number of examples.
      beam_size: number of beams; 1 is greedy search.
      max_length: of a sentence with its end, in tokens.
    """
    device = cache[0].device
    scores = torch.full((batch_size, beam_size), -torch.inf, device=device)
    scores[:, 0] = 0  # all beams are the same still
    tokens = torch.full((batch_size, beam_size, max_length), PAD_ID, device=device)
    best_scores = torch.full((batch_size,), -torch.inf, device=device)
    best_tokens = torch.full((batch_size, max_length), PAD_ID, device=device)
    previous = tokens[:, :, 0]
    for index in range(max_length):
        logits = step(previous, index, cache)
        log_probabilities = F.log_softmax(logits.float(), dim=-1) + scores[:, :, None]
        candidate_scores, chosen = _top(
            log_probabilities.flatten(start_dim=1), num_candidates(beam_size)
        )  # (batch, candidates)
        parents, candidates = chosen // logits.shape[-1], chosen % logits.shape[-1]
        is_end = candidates == END_ID

        ended = (candidate_scores / length_penalty(index + 1)).masked_fill(~is_end, -torch.inf)
        ended_scores, best = _top(ended, 1)
        ended_tokens = _pick(tokens, _pick(parents, best))[:, 0]
        ended_tokens[:, index] = END_ID
        is_better = ended_scores > best_scores[:, None]  # (batch, 1)
        best_scores = torch.where(is_better, ended_scores, best_scores[:, None])[:, 0]
        best_tokens = torch.where(is_better, ended_tokens, best_tokens)

        scores, chosen = _top(candidate_scores.masked_fill(is_end, -torch.inf), beam_size)
        parents, previous = _pick(parents, chosen), _pick(candidates, chosen)
        attainable = scores.max(dim=1).values / length_penalty(max_length)
        tokens = _pick(tokens, parents)
        tokens[:, :, index] = previous
        if not bool((attainable > best_scores).any()):
            break
        of_all = (parents + beam_size * torch.arange(batch_size, device=device)[:, None]).flatten()
        for kept in cache:
            kept[: index + 1] = kept[: index + 1].index_select(1, of_all)
    likeliest = _pick(tokens, scores.argmax(dim=1, keepdim=True))[:, 0]
    return torch.where(best_scores.isfinite()[:, None], best_tokens, likeliest)


def _top(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest ``count`` along the last axis in descending order; the first win ties.

    ``torch.topk`` leaves open which of equal ones it takes, and a stable sort of all is slow.
    """
    left, values, indices = scores.clone(), [], []
    for _ in range(count):
        index = left.argmax(dim=-1, keepdim=True)
        values.append(left.gather(-1, index))
        indices.append(index)
        left.scatter_(-1, index, -torch.inf)
    return torch.cat(values, dim=-1), torch.cat(indices, dim=-1)


def _pick(tensor: Tensor, indices: Tensor) -> Tensor:
    """Entries along axis 1: (batch, n, ...) and (batch, m) to (batch, m, ...); a new tensor."""
    return tensor[torch.arange(len(tensor), device=tensor.device)[:, None], indices]
