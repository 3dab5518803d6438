"""LSTM: long short-term memory over whole sequences."""

from __future__ import annotations

from .. import ops
from ._recurrent import Recurrent
from .lstm_unit import lstm_unit, lstm_unit_grad


class LSTM(Recurrent, type="LSTM", param="recurrent_param"):
    """Inputs (T, N, ...) to outputs (T, N, D); the gates in its weights are i, f, o, g. See Recurrent.

    Parameters: weights for the inputs (4 D, K), bias (4 D), for a static input (4 D, K'), for the state (4 D, D).
    """

    states, gates = 2, 4
    backward_reads = ("bottom",)

    def shapes(self, bottom):
        made = super().shapes(bottom)
        hidden = (self.streams, self.size)
        made.scratch.update(cells=((self.steps, *hidden), None), dcell=(hidden, None))
        return made

    def hidden(self, top):
        return top[0].data

    def last_states(self, top):
        return [top[0].data[-1], self.cells[-1]]

    def step(self, t, first, cont, hidden):
        before = self.cells[t - 1] if t else first[1]
        lstm_unit(before, self.sums[t], cont, self.streams, self.size, self.cells[t], hidden[t])

    def step_grad(self, t, first, cont, hidden):
        if t == self.steps - 1:
            ops.fill(0, self.dcell.size, self.dcell)
        before = self.cells[t - 1] if t else first[1]
        lstm_unit_grad(
            before, self.sums[t], cont, self.cells[t], self.dcell, self.dhidden, self.streams, self.size,
            self.dcell, self.dsums[t],
        )  # fmt: skip

    def forward(self, bottom, top):
        self.forward_steps(bottom, top)

    def backward(self, top, propagate_down, bottom):
        self.backward_steps(top[0].diff, top, propagate_down, bottom)
