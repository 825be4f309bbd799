"""Connectionist temporal classification in PyTorch: the loss, and greedy decoding.

The JAX twin, with source and choices, is ``finishline/frameworks/jax/ctc.py``.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

Logits = tuple[Tensor, Tensor]  # (batch, frames, tokens), and paddings (batch, frames): 1 if padded

BLANK = 0


def ctc_loss(labels: Tensor, logits: Logits, label_smoothing: float) -> Tensor:
    """Minus the logarithm of the probability of ``labels``, (batch, length): (batch,).

    Where it is 0, because there are too few frames for the tokens, the loss is 0, and so is its
    gradient; ``num_tokens`` counts no token there. Label smoothing does not apply.
    """
    del label_smoothing
    scores, paddings = logits
    losses = F.ctc_loss(
        F.log_softmax(scores, dim=-1).transpose(0, 1),  # (frames, batch, tokens)
        labels.long(),
        (1 - paddings).sum(dim=-1).long(),
        (labels != BLANK).sum(dim=-1),
        blank=BLANK,
        reduction="none",
        zero_infinity=True,  # the gradient of infinity would be NaN
    )
    return torch.where(_is_feasible(labels, paddings), losses, 0)


def num_tokens(labels: Tensor, logits: Logits) -> Tensor:
    """How many tokens of each example have a loss: (batch,), in the dtype of the logits."""
    scores, paddings = logits
    counts = (labels != BLANK).sum(dim=-1).to(scores.dtype)
    return torch.where(_is_feasible(labels, paddings), counts, 0)


def greedy_decode(logits: Logits) -> Tensor:
    """The tokens of the likeliest labelling: int32, (batch, frames), filled up with 0."""
    scores, paddings = logits
    best = scores.argmax(dim=-1).masked_fill(paddings > 0, BLANK).int()
    before = F.pad(best[:, :-1], (1, 0), value=BLANK)
    tokens = best.masked_fill(best == before, BLANK)
    to_front = torch.argsort((tokens == BLANK).int(), dim=-1, stable=True)
    return tokens.gather(-1, to_front)


def _is_feasible(labels: Tensor, paddings: Tensor) -> Tensor:
    """Whether there is a frame for each token, and one for a blank between equal tokens."""
    is_token = labels != BLANK
    is_repeated = (labels[:, 1:] == labels[:, :-1]) & is_token[:, 1:]
    num_frames = (1 - paddings).sum(dim=-1)
    return is_token.sum(dim=-1) + is_repeated.sum(dim=-1) <= num_frames
