"""A bidirectional LSTM in JAX. The PyTorch twin is ``finishline/frameworks/pytorch/lstm.py``.

Source: Hochreiter and Schmidhuber, 1997, "Long short-term memory", Neural Computation 9(8), with
the forget gates of Gers, Schmidhuber and Cummins, 2000, Neural Computation 12(10).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from finishline.spec import ParameterType

Array = jax.Array
Weights = Array | np.ndarray  # flax hands out what it was given
DIRECTIONS = ("", "_reverse")  # what the names of parameters end with
# What is added to an input gate in padding. It closes the gate: a state of 0 stays exactly 0.
CLOSED = -1e4


class BidirectionalLSTM(nn.Module):
    """Two LSTMs, one from the start and one from the end of each sequence.

    Padding has no effect: the second LSTM begins with a state of 0 at the last step of each
    sequence itself. Gates are in the order input, forget, cell, output.

    Kernels of inputs are LeCun-normal, those of states orthogonal by the gate, biases 0, as they
    are in flax's cell; a uniform distribution, PyTorch's default, would be another one.

    Attributes:
      num_units: width of the state of each direction.
    """

    num_units: int

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {
        f"{name}{direction}": role
        for direction in DIRECTIONS
        for name, role in (
            ("kernel_ih", ParameterType.WEIGHT),
            ("kernel_hh", ParameterType.WEIGHT),
            ("bias_ih", ParameterType.BIAS),
        )
    }

    @nn.compact
    def __call__(self, x: Array, paddings: Array) -> Array:
        """The states of both directions side by side.

        Args:
          x: (batch, length, features).
          paddings: (batch, length), 1 for padding, which comes last, and 0 else.

        Returns:
          (batch, length, 2 * num_units), 0 in padding.
        """
        inputs = jnp.swapaxes(x, 0, 1)  # (length, batch, features)
        is_input_gate = jnp.arange(4 * self.num_units) < self.num_units
        closing = CLOSED * paddings.T[..., None] * is_input_gate  # (length, batch, 4 * num_units)
        projected, kernels = [], []
        for direction in DIRECTIONS:
            kernel, recurrent, bias = self._parameters(direction, x.shape[-1])
            gates = inputs @ kernel + bias + closing
            projected.append(gates[::-1] if direction else gates)
            kernels.append(recurrent)
        # (length, 2, batch, num_units)
        states = _run(jnp.stack(projected, axis=1), jnp.stack(kernels))
        y = jnp.concatenate([states[:, 0], states[::-1, 1]], axis=-1)
        return jnp.swapaxes(y, 0, 1) * (1 - paddings)[..., None].astype(x.dtype)

    def _parameters(self, direction: str, num_features: int) -> tuple[Weights, Weights, Weights]:
        """Kernel of the input, kernel of the state and bias, with the four gates side by side."""
        width = 4 * self.num_units
        lecun = nn.initializers.lecun_normal()
        return (
            self.param(f"kernel_ih{direction}", lecun, (num_features, width)),
            self.param(f"kernel_hh{direction}", _orthogonal_gates, (self.num_units, width)),
            self.param(f"bias_ih{direction}", nn.initializers.zeros, (width,)),
        )


def _orthogonal_gates(rng: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
    """Four orthogonal matrices side by side: (num_units, 4 * num_units)."""
    num_units = shape[0]
    orthogonal = nn.initializers.orthogonal()
    keys = jax.random.split(rng, 4)
    return jnp.concatenate([orthogonal(k, (num_units, num_units), dtype) for k in keys], axis=1)


def _states(projected: Array, kernels: Array) -> Array:
    """The recurrence, from a state of 0, of several LSTMs at once.

    Its gradient is written out, because the one of ``jax.lax.scan`` adds up the gradient of the
    kernels step by step; here it is one product of matrices.

    Args:
      projected: what the inputs add to the gates, (length, directions, batch, 4 * num_units).
      kernels: of the state, (directions, num_units, 4 * num_units).

    Returns:
      The states, (length, directions, batch, num_units).
    """
    return _run_forward(projected, kernels)[0]


def _run_forward(projected: Array, kernels: Array) -> tuple[Array, tuple[Array, ...]]:
    def step(carry: tuple[Array, Array], inputs: Array) -> Any:
        state, cell = carry
        gates = inputs + jnp.einsum("dbh,dhg->dbg", state, kernels)
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
        cell = f * cell + i * g
        state = o * jnp.tanh(cell)
        return (state, cell), (state, cell, jnp.concatenate([i, f, g, o], axis=-1))

    zeros = _zero_state(projected)
    _, (states, cells, gates) = jax.lax.scan(step, (zeros, zeros), projected)
    return states, (states, cells, gates, kernels)


def _run_backward(saved: tuple[Array, ...], gradient: Array) -> tuple[Array, Array]:
    states, cells, gates, kernels = saved
    transposed = jnp.swapaxes(kernels, 1, 2)

    def step(carry: tuple[Array, Array], inputs: tuple[Array, ...]) -> Any:
        d_state, d_cell = carry
        d_output, cell, cell_before, gates = inputs
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        squashed = jnp.tanh(cell)
        d_state = d_state + d_output
        d_cell = d_cell + d_state * o * (1 - jnp.square(squashed))
        d_gates = jnp.concatenate(
            [
                d_cell * g * i * (1 - i),
                d_cell * cell_before * f * (1 - f),
                d_cell * i * (1 - jnp.square(g)),
                d_state * squashed * o * (1 - o),
            ],
            axis=-1,
        )
        return (jnp.einsum("dbg,dgh->dbh", d_gates, transposed), d_cell * f), d_gates

    zeros = _zero_state(gates)
    cells_before, states_before = (jnp.concatenate([zeros[None], x[:-1]]) for x in (cells, states))
    inputs = (gradient, cells, cells_before, gates)
    _, d_gates = jax.lax.scan(step, (zeros, zeros), inputs, reverse=True)
    return d_gates, jnp.einsum("tdbh,tdbg->dhg", states_before, d_gates)


_run = jax.custom_vjp(_states)
_run.defvjp(_run_forward, _run_backward)


def _zero_state(gates: Array) -> Array:
    """(directions, batch, num_units) for gates of (length, directions, batch, 4 * num_units)."""
    _, directions, batch, width = gates.shape
    return jnp.zeros((directions, batch, width // 4), gates.dtype)
