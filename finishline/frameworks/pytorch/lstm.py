"""A bidirectional LSTM in PyTorch. The JAX twin is ``finishline/frameworks/jax/lstm.py``.

The recurrence is the library's, cuDNN's on a GPU. Packed sequences would let it heed lengths, but
make the host wait for them; here a gate that is closed in padding does the same.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from finishline.frameworks.pytorch.init import lecun_normal_weight_
from finishline.spec import ParameterType

DIRECTIONS = ("", "_reverse")  # what the names of parameters end with
# What is added to an input gate in padding. It closes the gate: a state of 0 stays exactly 0.
CLOSED = -1e4
# The width of inputs grows by so many, of which one is used: it stays a multiple of 16 bytes, which
# products of matrices are quickest with.
NUM_CLOSING = 4


class BidirectionalLSTM(nn.Module):
    """Two LSTMs, one from the start and one from the end of each sequence.

    Padding has no effect: the second LSTM begins with a state of 0 at the last step of each
    sequence itself. Parameters have the shapes of ``nn.LSTM``'s, with gates in the order input,
    forget, cell, output, and the initial distributions of ``finishline.frameworks.jax.lstm``.

    Of the two biases, which the library adds up, the second has no effect: it is multiplied by 0,
    so its gradient is 0, too. JAX has one bias; two would learn at twice its rate.
    """

    parameter_types: ClassVar[Mapping[str, ParameterType]] = {
        f"{name}{direction}": role
        for direction in DIRECTIONS
        for name, role in (
            ("weight_ih", ParameterType.WEIGHT),
            ("weight_hh", ParameterType.WEIGHT),
            ("bias_ih", ParameterType.BIAS),
            ("bias_hh", ParameterType.BIAS),
        )
    }

    def __init__(self, num_features: int, num_units: int):
        """Makes and initialises the parameters.

        Args:
          num_features: width of the input.
          num_units: width of the state of each direction.
        """
        super().__init__()
        self.num_units = num_units
        for direction in DIRECTIONS:
            weight = nn.Parameter(torch.empty(4 * num_units, num_features))
            recurrent = nn.Parameter(torch.empty(4 * num_units, num_units))
            lecun_normal_weight_(weight, num_features)
            for gate in recurrent.data.chunk(4):
                nn.init.orthogonal_(gate)
            self.register_parameter(f"weight_ih{direction}", weight)
            self.register_parameter(f"weight_hh{direction}", recurrent)
            for name in ("bias_ih", "bias_hh"):
                zeros = nn.Parameter(torch.zeros(4 * num_units))
                self.register_parameter(f"{name}{direction}", zeros)

    def forward(self, x: Tensor, paddings: Tensor) -> Tensor:
        """The states of both directions side by side.

        Args:
          x: (batch, length, features).
          paddings: (batch, length), 1 for padding, which comes last, and 0 else.

        Returns:
          (batch, length, 2 * num_units), 0 in padding.
        """
        paddings = paddings.to(x.dtype).unsqueeze(-1)  # (batch, length, 1)
        closing = paddings.expand(-1, -1, NUM_CLOSING)
        parameters = [p for direction in DIRECTIONS for p in self._weights(direction)]
        run = _opaque_lstm if torch.compiler.is_compiling() else _lstm
        return run(torch.cat([x, closing], dim=-1), parameters) * (1 - paddings)

    def _weights(self, direction: str) -> list[Tensor]:
        """What the library takes of one direction, with weights for what closes input gates."""
        weight, recurrent, bias, inert = (
            getattr(self, f"{name}{direction}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        closing = weight.new_zeros(4 * self.num_units, NUM_CLOSING)
        closing[: self.num_units, 0] = CLOSED
        return [torch.cat([weight, closing], dim=1), recurrent, bias, 0 * inert]


def _lstm(x: Tensor, parameters: list[Tensor]) -> Tensor:
    """(batch, length, features) to the states of both directions, (batch, length, 2 * units)."""
    zeros = x.new_zeros(2, x.shape[0], parameters[1].shape[1])
    states, _, _ = torch.lstm(
        x,
        (zeros, zeros),
        parameters,
        has_biases=True,
        num_layers=1,
        dropout=0.0,
        train=True,
        bidirectional=True,
        batch_first=True,
    )
    return states


# Compilers unroll recurrences step by step. One operation that they do not look into takes the
# place: its gradient runs the recurrence again, because it cannot keep what that computed.


def _lstm_gradients(gradient: Tensor, x: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    with _differentiation(), torch.enable_grad():
        inputs = [tensor.detach().requires_grad_() for tensor in (x, *parameters)]
        states = _lstm(inputs[0], inputs[1:])
        gradients = torch.autograd.grad(states, inputs, gradient)
        return [tensor.contiguous() for tensor in gradients]


def _differentiation() -> contextlib.AbstractContextManager[Any]:
    """Brings back what records gradients, which is shut off inside of an operation of our own."""
    included = torch._C._dispatch_tls_local_include_set()
    excluded = torch._C._dispatch_tls_local_exclude_set()
    for name in ("AutogradFunctionality", "AutogradOther", "AutogradNestedTensor"):
        excluded = excluded.remove(getattr(torch._C.DispatchKey, name))
    return torch._C._ForceDispatchKeyGuard(included, excluded)


def _blank_states(x: Tensor, parameters: list[Tensor]) -> Tensor:
    return x.new_empty(*x.shape[:2], 2 * parameters[1].shape[1])


def _blank_gradients(gradient: Tensor, x: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    del gradient
    return [
        torch.empty_like(tensor, memory_format=torch.contiguous_format)
        for tensor in (x, *parameters)
    ]


def _save(ctx: Any, inputs: tuple[Tensor, list[Tensor]], output: Tensor) -> None:
    del output
    x, parameters = inputs
    ctx.save_for_backward(x, *parameters)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, list[Tensor]]:
    x, *parameters = ctx.saved_tensors
    first, *others = _opaque_gradients(gradient.contiguous(), x, parameters)
    return first, others


def _contiguous_states(x: Tensor, parameters: list[Tensor]) -> Tensor:
    return _lstm(x, parameters).contiguous()  # as compilers are told in ``_blank_states``


_opaque_lstm = torch.library.custom_op("finishline::lstm", _contiguous_states, mutates_args=())
_opaque_lstm.register_fake(_blank_states)
_opaque_lstm.register_autograd(_backward, setup_context=_save)
_opaque_gradients = torch.library.custom_op(
    "finishline::lstm_gradients", _lstm_gradients, mutates_args=()
)
_opaque_gradients.register_fake(_blank_gradients)
