"""LSTMUnit: one step of a long short-term memory (Hochreiter and Schmidhuber 1997), from its gates."""

from __future__ import annotations

from math import exp, tanh

import numpy as np

from ..kernel import T, device_function, kernel
from ..layer import Shapes, exactly
from ._recurrent import MarkedLayer, check_markers


@device_function
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return T(1) / (T(1) + exp(-x))


sigmoid.cuda("__device__ T sigmoid(T x) { return T(1) / (T(1) + exp(-x)); }")

STEP = {"over": "streams * size", "work": "60"}


@kernel("before: T*, gates: T*, cont: T*, streams: int, size: int -> cell: T*, hidden: T*", **STEP)
def lstm_unit(at, before, gates, cont, streams, size, cell, hidden):
    """cell = cont * f * before + i * g; hidden = o * tanh(cell). A row of gates is i, f, o, g, not yet squashed."""
    first = at // size * 4 * size + at % size
    i, f = sigmoid(gates[first]), cont[at // size] * sigmoid(gates[first + size])
    o, g = sigmoid(gates[first + 2 * size]), tanh(gates[first + 3 * size])
    cell[at] = f * before[at] + i * g
    hidden[at] = o * tanh(cell[at])


lstm_unit.cuda("""
    const T* row = gates + i / size * 4 * size + i % size;
    T in = sigmoid(row[0]), f = cont[i / size] * sigmoid(row[size]);
    T o = sigmoid(row[2 * size]), g = tanh(row[3 * size]);
    cell[i] = f * before[i] + in * g;
    hidden[i] = o * tanh(cell[i]);
""")


@kernel(
    "before: T*, gates: T*, cont: T*, cell: T*, dcell: T*, dhidden: T*, streams: int, size: int"
    " -> dbefore: T*, dgates: T*",
    **STEP,
)
def lstm_unit_grad(at, before, gates, cont, cell, dcell, dhidden, streams, size, dbefore, dgates):
    """The gradients of the cell before and of the gates; dbefore may be dcell."""
    first = at // size * 4 * size + at % size
    i, f = sigmoid(gates[first]), cont[at // size] * sigmoid(gates[first + size])
    o, g = sigmoid(gates[first + 2 * size]), tanh(gates[first + 3 * size])
    squashed = tanh(cell[at])
    total = dcell[at] + dhidden[at] * o * (T(1) - squashed * squashed)
    dgates[first] = total * g * i * (T(1) - i)
    dgates[first + size] = total * before[at] * f * (T(1) - f)
    dgates[first + 2 * size] = dhidden[at] * squashed * o * (T(1) - o)
    dgates[first + 3 * size] = total * i * (T(1) - g * g)
    dbefore[at] = total * f


lstm_unit_grad.cuda("""
    int first = i / size * 4 * size + i % size;
    T in = sigmoid(gates[first]), f = cont[i / size] * sigmoid(gates[first + size]);
    T o = sigmoid(gates[first + 2 * size]), g = tanh(gates[first + 3 * size]), squashed = tanh(cell[i]);
    T total = dcell[i] + dhidden[i] * o * (T(1) - squashed * squashed);
    dgates[first] = total * g * in * (T(1) - in);
    dgates[first + size] = total * before[i] * f * (T(1) - f);
    dgates[first + 2 * size] = dhidden[i] * squashed * o * (T(1) - o);
    dgates[first + 3 * size] = total * in * (T(1) - g * g);
    dbefore[i] = total * f;
""")


class LSTMUnit(MarkedLayer, type="LSTMUnit"):
    """Cells (1, N, D), gates (1, N, 4 D) and markers (1, N) to new cells and their outputs, both (1, N, D)."""

    bottoms, tops = exactly(3), exactly(2)
    backward_reads = ("bottom", "top")
    no_gradient_to = (2,)
    markers = 2

    def shapes(self, bottom):
        cells, gates, cont = bottom
        if len(cells) != 3 or cells[0] != 1:
            raise self.error(f"bottom 0: must have shape (1, N, D), got {cells}")
        _, self.streams, self.size = cells
        if gates != (1, self.streams, 4 * self.size):
            raise self.error(f"bottom 1: must have shape {(1, self.streams, 4 * self.size)}, got {gates}")
        if cont != (1, self.streams):
            raise self.error(f"bottom 2: must have shape {(1, self.streams)}, got {cont}")
        unwanted = {"dcells": (cells, None), "dgates": (gates, None)}
        return Shapes(top=[cells, cells], scratch={"fault": ((1,), np.int64), **unwanted})

    def forward(self, bottom, top):
        cells, gates, cont = (b.data for b in bottom)
        check_markers(cont, self.streams, self.fault)
        lstm_unit(cells, gates, cont, self.streams, self.size, top[0].data, top[1].data)

    def backward(self, top, propagate_down, bottom):
        cells, gates, cont = (b.data for b in bottom)
        lstm_unit_grad(
            cells, gates, cont, top[0].data, top[0].diff, top[1].diff, self.streams, self.size,
            bottom[0].diff if propagate_down[0] else self.dcells,
            bottom[1].diff if propagate_down[1] else self.dgates,
        )  # fmt: skip
