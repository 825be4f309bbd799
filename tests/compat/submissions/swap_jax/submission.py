"""Averages in a pytree node of its own with NumPy leaves; swapped in for evaluations.

A first forward pass, outside of jit, moves the statistics of batch norm; the second does not.
"""

import functools

import jax
import numpy as np
import optax
from algoperf import spec

from . import shared
from .shared import data_selection, get_batch_size  # noqa: F401


@jax.tree_util.register_pytree_node_class
class Outer:
    """The slow weights, on the host, and how often they were averaged."""

    def __init__(self, weights, count):
        self.weights = weights
        self.count = count

    def tree_flatten(self):
        return (self.weights, self.count), None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    optimizer = optax.adam(0.003)
    outer = Outer(jax.tree.map(np.array, model_params), np.zeros((), np.int32))
    state = {"inner": optimizer.init(model_params), "outer": outer, "swapped": False}
    return state, optimizer.update


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2, 3))
def step(workload, update_fn, params, state, model_state, batch, rng):
    def loss_of(params):
        logits, _ = workload.model_fn(
            params, batch, model_state, spec.ForwardPassMode.TRAIN, rng, update_batch_norm=False
        )
        return shared.mean_loss(workload, batch, logits)

    grad = jax.grad(loss_of)(params)
    updates, state = update_fn(grad, state, params)
    return optax.apply_updates(params, updates), state


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
    state, update_fn = optimizer_state
    params = current_param_container
    if state["swapped"]:
        params = jax.tree.map(jax.numpy.asarray, state["fast"])
    if model_state:
        _, model_state = workload.model_fn(
            params, batch, model_state, spec.ForwardPassMode.TRAIN, rng, update_batch_norm=True
        )
    params, inner = step(workload, update_fn, params, state["inner"], model_state, batch, rng)
    outer = state["outer"]
    if global_step % 10 == 9:
        outer = Outer(
            jax.tree.map(lambda w, p: 0.5 * w + 0.5 * np.asarray(p), outer.weights, params),
            outer.count + 1,
        )
    return ({"inner": inner, "outer": outer, "swapped": False}, update_fn), params, model_state


def prepare_for_eval(
    workload,
    current_param_container,
    current_params_types,
    model_state,
    hyperparameters,
    loss_type,
    optimizer_state,
    eval_results,
    global_step,
    rng,
):
    state, update_fn = optimizer_state
    fast = jax.tree.map(np.asarray, current_param_container)
    averages = jax.tree.map(jax.numpy.asarray, state["outer"].weights)
    return ({**state, "swapped": True, "fast": fast}, update_fn), averages, model_state
