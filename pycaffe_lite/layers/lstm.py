"""LSTM: long short-term memory over whole sequences."""

from __future__ import annotations

from .. import ops
from ._recurrent import Recurrent
from .lstm_unit import lstm_unit, lstm_unit_grad, squash_gates


class LSTM(Recurrent, type="LSTM", param="recurrent_param"):
    """Inputs (T, N, ...), markers (T, N) and perhaps a static input (N, ...) to outputs (T, N, D).

    With expose_hidden, output and cells of the last step, (1, N, D) each, are further tops, and bottoms.
    """

    states, gates = 2, 4
    backward_reads = ("bottom",)

    def shapes(self, bottom):
        made = super().shapes(bottom)
        hidden = (self.streams, self.size)
        per_step = ((self.steps, *hidden), None)
        made.scratch.update(cells=per_step, bent=per_step, dcell=(hidden, None))
        return made

    def hidden(self, top):
        return top[0].data

    def last_states(self, top):
        return [top[0].data[-1], self.cells[-1]]

    def step(self, t, first, cont, hidden):
        before = self.cells[t - 1] if t else first[1]
        sizes = self.streams, self.size
        squash_gates(cont, *sizes, self.sums[t])
        lstm_unit(before, self.sums[t], *sizes, self.cells[t], self.bent[t], hidden[t])

    def step_grad(self, t, first, cont, hidden):
        if t == self.steps - 1:
            ops.fill(0, self.dcell.size, self.dcell)
        before = self.cells[t - 1] if t else first[1]
        lstm_unit_grad(
            before, self.sums[t], self.bent[t], self.dcell, self.dhidden, self.streams, self.size,
            self.dcell, self.dsums[t],
        )  # fmt: skip

    def forward(self, bottom, top):
        self.forward_steps(bottom, top)

    def backward(self, top, propagate_down, bottom):
        self.backward_steps(top[0].diff, top, propagate_down, bottom)
