"""Sequential NAdamW: tunes itself by trying one learning rate after the other, each from the start.

Round r = 0, 1, ... takes 3/4 ``step_hint`` steps of NAdamW from the initial weights with the peak
learning rate ``PEAKS[r]``, under a linear warm-up and a cosine. The rate that does well most often
comes first; the budget of a self-tuning submission has room for a few rounds. After the last, the
submission says that it is done.

For NAdamW see ``reference_submissions/nadamw``. Batch-norm statistics are not reset: they forget
by themselves.

Source: the idea of the self-tuning baseline in Dahl et al., "Benchmarking Neural Network Training
Algorithms", arXiv:2306.07179.
"""

import jax
import jax.numpy as jnp
import optax

from finishline import spec
from finishline.recipes import jax as recipe
from finishline.recipes.jax import data_selection, get_batch_size

PEAKS = (0.01, 0.003, 0.03, 0.001, 0.1)
WARMUP_FACTOR = 0.05


def steps_of_round(step_hint):
    """Steps that each round takes."""
    return max(2, 3 * step_hint // 4)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    """The moments, the initial weights, and the compiled training step."""
    num_steps = steps_of_round(workload.step_hint)
    rounds = [
        optax.warmup_cosine_decay_schedule(0.0, peak, int(WARMUP_FACTOR * num_steps), num_steps)
        for peak in PEAKS
    ]
    schedule = optax.join_schedules(rounds, [num_steps * r for r in range(1, len(PEAKS))])
    optimizer = nadam_in_rounds(schedule, num_steps)
    return recipe.init(workload, model_params, hyperparameters, optimizer, schedule)


def nadam_in_rounds(schedule, num_steps):
    """NAdam, whose first step in each round but the first goes back to where it all began."""
    adam = optax.scale_by_adam(b1=0.9, b2=0.99, eps=1e-8, nesterov=True)

    def init(params):
        return jnp.int32(0), adam.init(params), params

    def update(grads, state, params, **_):
        count, moments, initial = state

        def go_on():
            directions, new_moments = adam.update(grads, moments, params)
            return jax.tree.map(lambda u: -schedule(count) * u, directions), new_moments

        def begin_again():
            return jax.tree.map(jnp.subtract, initial, params), adam.init(params)

        is_new_round = (count > 0) & (count % num_steps == 0)
        updates, moments = jax.lax.cond(is_new_round, begin_again, go_on)
        return updates, (count + 1, moments, initial)

    return optax.GradientTransformationExtraArgs(init, update)


def update_params(
    workload,
    current_param_container,
    current_params_types,
    model_state,
    hyperparameters,
    batch,
    loss_type,
    optimizer_state,
    eval_results,
    global_step,
    rng,
):
    """One training step, or the end after the last round."""
    if global_step >= len(PEAKS) * steps_of_round(workload.step_hint):
        raise spec.TrainingCompleteError
    return recipe.update_params(
        workload,
        current_param_container,
        current_params_types,
        model_state,
        hyperparameters,
        batch,
        loss_type,
        optimizer_state,
        eval_results,
        global_step,
        rng,
    )
