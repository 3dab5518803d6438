"""What RNN and LSTM share: a net unrolled over time, written as one recipe (Caffe makes an inner net of it).

Blobs are (T, N, ...): T time steps of N independent streams. The marker cont[t, n] is 0 where a sequence
begins, which cuts off what came before, and 1 where it goes on. All products with the inputs are one
product over all time steps; only the product with the hidden state has to wait for the step before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from .. import ops
from ..blob import Blob
from ..device import put
from ..errors import DataError
from ..kernel import kernel
from ..layer import Layer, Param, Shapes, between, exactly
from ..logs import log


@kernel("cont: T*, count: int -> fault: long*")
def check_markers(i, cont, count, fault):
    """Note a marker that is neither 0 nor 1."""
    if cont[i] != 0 and cont[i] != 1:
        fault[0] = i + 1


check_markers.cuda("if (cont[i] != 0 && cont[i] != 1) fault[0] = i + 1;")


@kernel("before: T*, cont: T*, streams: int, size: int -> carried: T*", over="streams * size")
def carry(i, before, cont, streams, size, carried):
    """What a step gets of the hidden state before: cont * before."""
    carried[i] = cont[i // size] * before[i]


carry.cuda("carried[i] = cont[i / size] * before[i];")


@kernel("dy: T*, cont: T*, streams: int, size: int -> dhidden: T*", over="streams * size")
def carry_grad(i, dy, cont, streams, size, dhidden):
    """The gradient of a hidden state: cont * that of what it carried on (in dhidden), plus that of its own output."""
    dhidden[i] = dy[i] + cont[i // size] * dhidden[i]


carry_grad.cuda("dhidden[i] = dy[i] + cont[i / size] * dhidden[i];")


class MarkedLayer(Layer):
    """A layer one of whose bottoms holds markers."""

    markers: ClassVar[int] = 1

    def explain_fault(self, place: int, bottom: list[Blob]) -> DataError:
        """The error for the marker at this place."""
        cont = bottom[self.markers].data
        step, stream = divmod(place, cont.shape[1])
        return DataError(
            f"layer {self.name!r} ({self.type}): bottom {self.markers} ({self.bottom_names[self.markers]!r}) must "
            f"be 0 where a sequence begins and 1 where it goes on, got {float(cont[step, stream]):g} at time "
            f"step {step} of stream {stream}"
        )


class Recurrent(MarkedLayer):
    """Bottoms: inputs (T, N, ...), markers (T, N), perhaps a static input (N, ...) that every step sees.

    The hidden state goes on from one forward to the next. With `expose_hidden` it comes from further
    bottoms instead and goes to further tops, (1, N, D) each; as in Caffe no gradient passes through those.
    """

    bottoms, tops = between(2, 3), exactly(1)
    no_gradient_to = (1,)
    remembers = ("state",)
    states: ClassVar[int]  # blobs of the hidden state
    gates: ClassVar[int]  # numbers that a step computes for each hidden one

    def check_arity(self) -> None:
        if self.param.expose_hidden:
            self.bottoms, self.tops = between(2 + self.states, 3 + self.states), exactly(1 + self.states)
        super().check_arity()

    def setup(self):
        if self.param.num_output < 1:
            raise self.error(f"recurrent_param.num_output: must be at least 1, got {self.param.num_output}")
        if self.param.debug_info:
            log.warning(
                "layer %r (%s): debug_info: there is no inner net here whose blobs to log", self.name, self.type
            )
        hidden = self.states if self.param.expose_hidden else 0
        self.has_static = len(self.message.bottom) > 2 + hidden
        self.first_hidden = len(self.message.bottom) - hidden

    def read_sizes(self, bottom: Sequence[tuple[int, ...]]) -> None:
        """Check the bottoms and take the sizes from them."""
        x, cont = bottom[:2]
        if len(x) < 2 or 0 in x[:2]:
            raise self.error(f"bottom 0: must have shape (time steps, streams, ...), none of them 0, got {x}")
        if cont != x[:2]:
            raise self.error(f"bottom 1: the markers must have shape {x[:2]}, as bottom 0 is {x}, got {cont}")
        self.steps, self.streams, self.size = *x[:2], self.param.num_output
        self.depth, self.width = math.prod(x[2:]), self.gates * self.size
        if self.has_static and bottom[2][:1] != x[1:2]:
            raise self.error(f"bottom 2: the static input must be for {x[1]} streams, got shape {bottom[2]}")
        self.static_depth = math.prod(bottom[2][1:]) if self.has_static else 0
        for index in range(self.first_hidden, len(bottom)):
            if bottom[index] != (1, self.streams, self.size):
                wanted = (1, self.streams, self.size)
                raise self.error(f"bottom {index}: the hidden state must have shape {wanted}, got {bottom[index]}")

    def shapes(self, bottom):
        self.read_sizes(bottom)
        p, per_step = self.param, (self.steps, self.streams)
        params = [Param((self.width, self.depth), p.weight_filler), Param((self.width,), p.bias_filler)]
        if self.has_static:
            params.append(Param((self.width, self.static_depth), p.weight_filler))
        params.append(Param((self.width, self.size), p.weight_filler))
        hidden = (self.streams, self.size)
        scratch = {
            "sums": ((*per_step, self.width), None), "dsums": ((*per_step, self.width), None),
            "carried": ((*per_step, self.size), None), "dhidden": (hidden, None),
            "state": ((self.states, *hidden), None), "first": ((self.states, *hidden), None),
            "static": ((self.streams, self.width), None), "fault": ((1,), np.int64),
        }  # fmt: skip
        tops = [(*per_step, self.size)] + [(1, *hidden)] * (len(self.message.top) - 1)
        return Shapes(top=tops, params=params, scratch=scratch)

    def reset(self) -> None:
        """Forget the hidden state, as if every stream began anew."""
        put(self.state, 0)

    # What a kind of recurrent layer says of itself

    def hidden(self, top: Sequence[Any]) -> Any:
        """The array (T, N, D) of hidden states."""
        raise NotImplementedError

    def last_states(self, top: Sequence[Any]) -> list[Any]:
        """The states behind the last step."""
        raise NotImplementedError

    def step(self, t: int, first: Sequence[Any], cont: Any, hidden: Any) -> None:
        """Record how sums[t] make the hidden state."""
        raise NotImplementedError

    def step_grad(self, t: int, first: Sequence[Any], cont: Any, hidden: Any) -> None:
        """Record how the gradient `dhidden` makes dsums[t]."""
        raise NotImplementedError

    # The recipe

    def weights(self) -> tuple[Any, Any, Any, Any]:
        """The parameters that all kinds have: for inputs, bias, for the static input (or None), for the state."""
        own = self.params[: 4 if self.has_static else 3]
        return own[0], own[1], own[2] if self.has_static else None, own[-1]

    def first_states(self, bottom: Sequence[Any]) -> list[Any]:
        """The states in front of the first step."""
        if self.param.expose_hidden:
            return [blob.data[0] for blob in bottom[self.first_hidden :]]
        return [self.first[k] for k in range(self.states)]

    def forward_steps(self, bottom: Sequence[Any], top: Sequence[Any]) -> None:
        """All time steps: from the bottoms to the hidden states."""
        rows, cont, hidden = self.steps * self.streams, bottom[1].data, self.hidden(top)
        for_x, bias, for_static, for_state = self.weights()
        check_markers(cont, rows, self.fault)
        ops.gemm(bottom[0].data, for_x.data, self.sums, rows, self.width, self.depth, trans_b=True)
        ops.add_bias_rows(bias.data, rows, self.width, self.sums)
        if for_static is not None:
            static = bottom[2].data
            ops.gemm(static, for_static.data, self.static, self.streams, self.width, self.static_depth, trans_b=True)
            ops.add_bias_rows(self.static, self.steps, self.streams * self.width, self.sums)
        if not self.param.expose_hidden:
            ops.copy(self.state, self.state.size, self.first)
        first = self.first_states(bottom)
        for t in range(self.steps):
            before = hidden[t - 1] if t else first[0]
            carry(before, cont[t], self.streams, self.size, self.carried[t])
            ops.gemm(
                self.carried[t], for_state.data, self.sums[t], self.streams, self.width, self.size,
                trans_b=True, accumulate=True,
            )  # fmt: skip
            self.step(t, first, cont[t], hidden)
        targets = [blob.data[0] for blob in top[1:]] or [self.state[k] for k in range(self.states)]
        for last, target in zip(self.last_states(top), targets):
            ops.copy(last, self.streams * self.size, target)

    def backward_steps(
        self, dy: Any, top: Sequence[Any], propagate_down: Sequence[bool], bottom: Sequence[Any]
    ) -> None:
        """All time steps: from dy, the gradients (T, N, D) of the hidden states' own outputs, to the bottoms'."""
        cont, hidden, first = bottom[1].data, self.hidden(top), self.first_states(bottom)
        for_state = self.weights()[3]
        for t in reversed(range(self.steps)):
            if t == self.steps - 1:
                ops.copy(dy[t], self.streams * self.size, self.dhidden)
            else:
                ops.gemm(self.dsums[t + 1], for_state.data, self.dhidden, self.streams, self.size, self.width)
                carry_grad(dy[t], cont[t + 1], self.streams, self.size, self.dhidden)
            self.step_grad(t, first, cont[t], hidden)
        self.parameter_gradients(bottom)
        self.bottom_gradients(propagate_down, bottom)

    def parameter_gradients(self, bottom: Sequence[Any]) -> None:
        """From dsums: the gradients of weights and bias."""
        rows, at_state = self.steps * self.streams, 3 if self.has_static else 2
        for_x, bias, for_static, for_state = self.weights()
        products = [(0, for_x, self.dsums, bottom[0].data, self.depth, rows)]
        products.append((at_state, for_state, self.dsums, self.carried, self.size, rows))
        if for_static is not None:  # every step adds to the same sums
            ops.fill(0, self.static.size, self.static)
            ops.add_rows(self.dsums, self.steps, self.streams * self.width, self.static)
            products.append((2, for_static, self.static, bottom[2].data, self.static_depth, self.streams))
        for index, weight, sums, inputs, depth, count in products:
            if self.learns(index):
                ops.gemm(sums, inputs, weight.diff, self.width, depth, count, trans_a=True, accumulate=True)
        if self.learns(1):
            ops.add_rows(self.dsums, rows, self.width, bias.diff)

    def bottom_gradients(self, propagate_down: Sequence[bool], bottom: Sequence[Any]) -> None:
        """From dsums: the gradients of the inputs."""
        for_x, _, for_static, _ = self.weights()
        if propagate_down[0]:
            rows = self.steps * self.streams
            ops.gemm(self.dsums, for_x.data, bottom[0].diff, rows, self.depth, self.width)
        if for_static is not None and propagate_down[2]:
            dx = bottom[2].diff
            ops.gemm(self.static, for_static.data, dx, self.streams, self.static_depth, self.width)
        for blob, wanted in zip(bottom[self.first_hidden :], propagate_down[self.first_hidden :]):
            if wanted:  # as in Caffe, which does not share these gradients with its inner net
                ops.fill(0, blob.count, blob.diff)
