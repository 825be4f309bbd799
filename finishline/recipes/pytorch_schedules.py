"""Learning-rate schedules in PyTorch, as ``LambdaLR`` has them: a factor by the step.

The JAX twins are in ``finishline/recipes/jax_schedules.py``.
"""

import math
from collections.abc import Callable
from typing import Any


def warmup_cosine(hyperparameters: Any, step_hint: int) -> Callable[[int], float]:
    """Linear from 0 to 1 in ``warmup_factor * step_hint`` steps, then a cosine to 0."""
    warmup_steps = int(hyperparameters.warmup_factor * step_hint)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return step / warmup_steps
        progress = min((step - warmup_steps) / (step_hint - warmup_steps), 1.0)
        return 0.5 * (1.0 + math.cos(math.pi * progress))

    return factor


def warmup_linear(hyperparameters: Any, step_hint: int) -> Callable[[int], float]:
    """Linear from 0 to 1, linear down to ``end_factor``, then constant.

    The warm-up takes ``warmup_factor``, all until the end of the decay ``decay_steps_factor`` of
    ``step_hint`` steps.
    """
    warmup_steps = int(hyperparameters.warmup_factor * step_hint)
    decay_steps = int(hyperparameters.decay_steps_factor * step_hint) - warmup_steps

    def factor(step: int) -> float:
        if step < warmup_steps:
            return step / warmup_steps
        progress = min((step - warmup_steps) / decay_steps, 1.0)
        return 1.0 + progress * (hyperparameters.end_factor - 1.0)

    return factor


def constant_after_warmup(hyperparameters: Any, step_hint: int) -> Callable[[int], float]:
    """As ``warmup_cosine``, but the learning rate stays at its peak."""
    warmup_steps = max(1, int(hyperparameters.warmup_factor * step_hint))
    return lambda step: min(step / warmup_steps, 1.0)
