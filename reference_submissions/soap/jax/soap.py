"""SOAP as an optax transformation; the formulas are in ``submission.py``."""

from typing import Any, NamedTuple

import optax

import jax
import jax.numpy as jnp


class Leaf(NamedTuple):
    """The state of one tensor.

    Attributes:
      m: first moment, like the tensor.
      v: second moment in the eigenbasis, like the tensor.
      statistics: L_i by axis, (n_i, n_i); None for axes that are not rotated.
      bases: Q_i by axis, likewise.
    """

    m: jax.Array
    v: jax.Array
    statistics: tuple[jax.Array | None, ...]
    bases: tuple[jax.Array | None, ...]


class State(NamedTuple):
    """Steps done, and the tree of ``Leaf`` in the order of its leaves."""

    count: jax.Array
    leaves: list[Leaf]


def scale_by_soap(
    b1: float, b2: float, eps: float, precondition_frequency: int, max_precondition_dim: int
) -> optax.GradientTransformation:
    """Adam in the eigenbasis of Shampoo's preconditioner."""

    def init(params: Any) -> State:
        leaves = [_init_leaf(p, max_precondition_dim) for p in jax.tree.leaves(params)]
        return State(jnp.int32(0), leaves)

    def update(updates: Any, state: State, params: Any = None) -> tuple[Any, State]:
        grads, structure = jax.tree.flatten(updates)
        t = state.count
        scale = jnp.sqrt(1 - b2**t) / jnp.where(t == 0, 1.0, 1 - b1**t)

        def first(leaf: Leaf, grad: jax.Array) -> tuple[jax.Array, Leaf]:
            statistics = _accumulate(leaf.statistics, grad, b2)
            bases = tuple(None if s is None else _eigenvectors(s) for s in statistics)
            return jnp.zeros_like(grad), leaf._replace(statistics=statistics, bases=bases)

        def later(leaf: Leaf, grad: jax.Array) -> tuple[jax.Array, Leaf]:
            m = b1 * leaf.m + (1 - b1) * grad
            v = b2 * leaf.v + (1 - b2) * _rotate(grad, leaf.bases) ** 2
            rotated = _rotate(m, leaf.bases) / (jnp.sqrt(v) + eps)
            back = tuple(None if q is None else q.T for q in leaf.bases)
            statistics = _accumulate(leaf.statistics, grad, b2)
            leaf = Leaf(m, v, statistics, leaf.bases)
            leaf = jax.lax.cond(t % precondition_frequency == 0, _follow, lambda same: same, leaf)
            return scale * _rotate(rotated, back), leaf

        results = [
            jax.lax.cond(t == 0, first, later, leaf, grad)
            for leaf, grad in zip(state.leaves, grads, strict=True)
        ]
        updates = jax.tree.unflatten(structure, [update for update, _ in results])
        return updates, State(t + 1, [leaf for _, leaf in results])

    return optax.GradientTransformation(init, update)


def _init_leaf(param: jax.Array, max_dim: int) -> Leaf:
    is_rotated = [param.ndim > 1 and size <= max_dim for size in param.shape]
    zeros = tuple(
        jnp.zeros((size, size), param.dtype) if rotated else None
        for size, rotated in zip(param.shape, is_rotated, strict=True)
    )
    return Leaf(jnp.zeros_like(param), jnp.zeros_like(param), zeros, zeros)


def _accumulate(
    statistics: tuple[jax.Array | None, ...], grad: jax.Array, decay: float
) -> tuple[jax.Array | None, ...]:
    def outer(axis: int) -> jax.Array:
        others = [i for i in range(grad.ndim) if i != axis]
        return jnp.tensordot(grad, grad, axes=(others, others))

    return tuple(
        None if s is None else decay * s + (1 - decay) * outer(axis)
        for axis, s in enumerate(statistics)
    )


def _rotate(x: jax.Array, bases: tuple[jax.Array | None, ...]) -> jax.Array:
    """``x`` with each axis multiplied by its basis; a transposed basis rotates back."""
    for basis in bases:  # each turn takes the first axis and puts it last
        if basis is None:
            x = jnp.moveaxis(x, 0, -1)
        else:
            x = jnp.tensordot(x, basis, axes=((0,), (0,)))
    return x


def _eigenvectors(matrix: jax.Array) -> jax.Array:
    """By falling eigenvalue, as columns."""
    return jnp.flip(jnp.linalg.eigh(matrix)[1], axis=1)


def _follow(leaf: Leaf) -> Leaf:
    """Bases after one QR iteration, in the order of their eigenvalues; v goes with them."""
    v, bases = leaf.v, []
    for axis, (statistic, basis) in enumerate(zip(leaf.statistics, leaf.bases, strict=True)):
        if statistic is None or basis is None:
            bases.append(None)
            continue
        product = statistic @ basis
        order = jnp.argsort(jnp.sum(basis * product, axis=0), descending=True)
        v = jnp.take(v, order, axis=axis)
        bases.append(jnp.linalg.qr(product[:, order])[0])
    return leaf._replace(v=v, bases=tuple(bases))
