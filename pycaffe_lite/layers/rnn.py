"""RNN: a simple recurrent layer, with tanh in its hidden state and in its output."""

from __future__ import annotations

from .. import ops
from ..layer import Param
from ._recurrent import Recurrent
from .tanh import TanH


class RNN(Recurrent, type="RNN", param="recurrent_param"):
    """h[t] = tanh(W x[t] + b + H cont[t] h[t - 1]), y[t] = tanh(O h[t] + c), for t = 1 to T.

    Inputs (T, N, ...), markers (T, N) and perhaps a static input (N, ...) to outputs (T, N, D). With
    expose_hidden the last h, (1, N, D), is a further top, and bottom.
    """

    states, gates = 1, 1
    backward_reads = ("bottom", "top")

    def shapes(self, bottom):
        made = super().shapes(bottom)
        output = [Param((self.size, self.size), self.param.weight_filler), Param((self.size,), self.param.bias_filler)]
        made.params.extend(output)
        per_step = ((self.steps, self.streams, self.size), None)
        made.scratch.update(all_hidden=per_step, doutput=per_step, dall_hidden=per_step)
        return made

    def hidden(self, top):
        return self.all_hidden

    def last_states(self, top):
        return [self.all_hidden[-1]]

    def step(self, t, first, cont, hidden):
        TanH.run(self.sums[t], self.streams * self.size, hidden[t])

    def step_grad(self, t, first, cont, hidden):
        TanH.run_gradient(hidden[t], self.dhidden, self.streams * self.size, self.dsums[t])

    def forward(self, bottom, top):
        self.forward_steps(bottom, top)
        (weight, bias), y, rows = self.params[-2:], top[0].data, self.steps * self.streams
        ops.gemm(self.all_hidden, weight.data, y, rows, self.size, self.size, trans_b=True)
        ops.add_bias_rows(bias.data, rows, self.size, y)
        TanH.run(y, top[0].count, y)

    def backward(self, top, propagate_down, bottom):
        (weight, bias), rows, size = self.params[-2:], self.steps * self.streams, self.size
        TanH.run_gradient(top[0].data, top[0].diff, top[0].count, self.doutput)
        if self.learns(len(self.params) - 2):
            ops.gemm(self.doutput, self.all_hidden, weight.diff, size, size, rows, trans_a=True, accumulate=True)
        if self.learns(len(self.params) - 1):
            ops.add_rows(self.doutput, rows, size, bias.diff)
        ops.gemm(self.doutput, weight.data, self.dall_hidden, rows, size, size)
        self.backward_steps(self.dall_hidden, top, propagate_down, bottom)
