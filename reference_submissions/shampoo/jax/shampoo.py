"""Blocked Shampoo as an optax transformation; the formulas are in ``submission.py``."""

import math
from typing import Any, NamedTuple

import optax

import jax
import jax.numpy as jnp


class Leaf(NamedTuple):
    """Covariances and roots of one kernel, by block.

    Attributes:
      left: L, (blocks of rows, blocks of columns, rows, rows).
      right: R, (blocks of rows, blocks of columns, columns, columns).
      left_root: (L + e)^(-1/4).
      right_root: (R + e)^(-1/4).
    """

    left: jax.Array
    right: jax.Array
    left_root: jax.Array
    right_root: jax.Array


class State(NamedTuple):
    """Adam's state, and a ``Leaf`` for each kernel, None for others, in the order of the leaves."""

    adam: optax.ScaleByAdamState
    leaves: list[Leaf | None]


def scale_by_shampoo(
    is_matrix: Any, b1: float, b2: float, eps: float, precondition_frequency: int, block_size: int
) -> optax.GradientTransformation:
    """Shampoo's direction with Adam's norm.

    Args:
      is_matrix: a tree like the parameters that says which are preconditioned.
      b1: decay rate of the first moment.
      b2: decay rate of second moment and covariances.
      eps: added to Adam's denominator.
      precondition_frequency: steps from one computation of the roots to the next.
      block_size: the most rows and columns of a block.
    """
    adam = optax.scale_by_adam(b1=b1, b2=b2, eps=eps)

    def init(params: Any) -> State:
        leaves = [
            _init_leaf(p, block_size) if preconditioned else None
            for p, preconditioned in zip(
                jax.tree.leaves(params), jax.tree.leaves(is_matrix), strict=True
            )
        ]
        return State(adam.init(params), leaves)

    def update(updates: Any, state: State, params: Any = None) -> tuple[Any, State]:
        directions, adam_state = adam.update(updates, state.adam)
        is_due = state.adam.count % precondition_frequency == 0
        grads, structure = jax.tree.flatten(updates)
        results = [
            (a, None) if leaf is None else _precondition(leaf, g, m, a, b2, is_due, block_size)
            for leaf, g, m, a in zip(
                state.leaves,
                grads,
                jax.tree.leaves(adam_state.mu),
                jax.tree.leaves(directions),
                strict=True,
            )
        ]
        updates = jax.tree.unflatten(structure, [update for update, _ in results])
        return updates, State(adam_state, [leaf for _, leaf in results])

    return optax.GradientTransformation(init, update)


def _init_leaf(param: jax.Array, block_size: int) -> Leaf:
    rows, columns = _blocks(param, block_size).shape[-2:]
    number = _blocks(param, block_size).shape[:2]
    left = jnp.zeros((*number, rows, rows), param.dtype)
    right = jnp.zeros((*number, columns, columns), param.dtype)
    return Leaf(left, right, left, right)


def _precondition(
    leaf: Leaf,
    grad: jax.Array,
    m: jax.Array,
    adam_direction: jax.Array,
    decay: float,
    is_due: jax.Array,
    block_size: int,
) -> tuple[jax.Array, Leaf]:
    g = _blocks(grad, block_size)  # (blocks, blocks, rows, columns)
    transposed = g.swapaxes(-1, -2)
    left = decay * leaf.left + (1 - decay) * g @ transposed
    right = decay * leaf.right + (1 - decay) * transposed @ g
    left_root, right_root = jax.lax.cond(
        is_due,
        lambda: (_inverse_fourth_root(left), _inverse_fourth_root(right)),
        lambda: (leaf.left_root, leaf.right_root),
    )
    direction = left_root @ _blocks(m, block_size) @ right_root
    norm, wanted = jnp.linalg.norm(direction), jnp.linalg.norm(adam_direction)
    direction *= jnp.where(norm > 0, wanted / norm, 0.0)
    update = _whole(direction, grad.shape)
    return update, Leaf(left, right, left_root, right_root)


def _inverse_fourth_root(matrices: jax.Array) -> jax.Array:
    """(A + e)^(-1/4) of symmetric matrices, (..., n, n); 0 of 0."""

    def root(matrix: jax.Array) -> jax.Array:
        values, vectors = jnp.linalg.eigh(matrix)
        values = jnp.maximum(values, 0.0) + 1e-6 * values[-1]
        roots = jnp.where(values[-1] > 0, values**-0.25, 0.0)
        return (vectors * roots) @ vectors.T

    # One after the other: in a branch, a batch of decompositions on a CPU with two threads waits
    # for ever in jaxlib 0.10, as it waits in the threads that are to do its parts.
    return jax.lax.map(root, matrices.reshape(-1, *matrices.shape[-2:])).reshape(matrices.shape)


def _blocks(kernel: jax.Array, block_size: int) -> jax.Array:
    """(..., outputs) as (blocks of rows, blocks of columns, rows, columns), filled up with 0."""
    matrix = kernel.reshape(-1, kernel.shape[-1])
    rows, columns = (min(size, block_size) for size in matrix.shape)
    filled = jnp.pad(matrix, [(0, -matrix.shape[0] % rows), (0, -matrix.shape[1] % columns)])
    shape = (filled.shape[0] // rows, rows, filled.shape[1] // columns, columns)
    return filled.reshape(shape).swapaxes(1, 2)


def _whole(blocks: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The kernel of which ``blocks`` are the blocks."""
    num_rows, num_columns, rows, columns = blocks.shape
    matrix = blocks.swapaxes(1, 2).reshape(num_rows * rows, num_columns * columns)
    return matrix[: math.prod(shape[:-1]), : shape[-1]].reshape(shape)
