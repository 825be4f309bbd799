"""Learning-rate schedules in JAX, as optax has them: the rate by the step.

The PyTorch twins are in ``finishline/recipes/pytorch_schedules.py``.
"""

from typing import Any

import optax


def warmup_cosine(hyperparameters: Any, step_hint: int) -> optax.Schedule:
    """Linear from 0 to ``learning_rate`` in ``warmup_factor * step_hint`` steps, a cosine to 0."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=hyperparameters.learning_rate,
        warmup_steps=int(hyperparameters.warmup_factor * step_hint),
        decay_steps=step_hint,
    )


def warmup_linear(hyperparameters: Any, step_hint: int) -> optax.Schedule:
    """Linear from 0 to ``learning_rate``, linear down to ``end_factor`` of that, then constant.

    The warm-up takes ``warmup_factor``, all until the end of the decay ``decay_steps_factor`` of
    ``step_hint`` steps.
    """
    peak = hyperparameters.learning_rate
    warmup_steps = int(hyperparameters.warmup_factor * step_hint)
    decay_steps = int(hyperparameters.decay_steps_factor * step_hint) - warmup_steps
    warmup = optax.linear_schedule(0.0, peak, warmup_steps)
    decay = optax.linear_schedule(peak, peak * hyperparameters.end_factor, decay_steps)
    return optax.join_schedules([warmup, decay], boundaries=[warmup_steps])


def constant_after_warmup(hyperparameters: Any, step_hint: int) -> optax.Schedule:
    """As ``warmup_cosine``, but the learning rate stays at its peak."""
    warmup_steps = max(1, int(hyperparameters.warmup_factor * step_hint))
    return optax.linear_schedule(0.0, hyperparameters.learning_rate, warmup_steps)
