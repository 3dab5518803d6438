"""LSTMUnit: one step of a long short-term memory (Hochreiter and Schmidhuber 1997), from its gates."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..kernel import T, kernel
from ..layer import Shapes, exactly
from ..squash import sigmoid, tanh
from ._recurrent import MarkedLayer, check_markers


@kernel("cont: T*, streams: int, size: int -> gates: T*", over="streams", work="16 * size")
def squash_gates(i, cont, streams, size, gates):
    """Row i of the gates i, f, o, g: sigmoids of the first three, f times the marker, tanh of the last."""
    start = i * 4 * size
    for j in range(start, start + 3 * size):
        gates[j] = sigmoid(gates[j])
    for j in range(start + size, start + 2 * size):
        gates[j] *= cont[i]
    for j in range(start + 3 * size, start + 4 * size):
        gates[j] = tanh(gates[j])


squash_gates.cuda(
    """
    int place = i % (4 * size) / size;
    gates[i] = place == 3 ? tanh(gates[i]) : sigmoid(gates[i]) * (place == 1 ? cont[i / (4 * size)] : T(1));
""",
    over="streams * 4 * size",
)


@kernel(
    "before: T*, gates: T*, streams: int, size: int -> cell: T*, bent: T*, hidden: T*",
    over="streams",
    work="10 * size",
)
def lstm_unit(n, before, gates, streams, size, cell, bent, hidden):
    """Row n, from squashed gates: cell = f * before + i * g, bent = tanh(cell), hidden = o * bent."""
    # one loop for each, so that few arrays meet in it and it vectorises
    i, f, o, g = n * 4 * size, (n * 4 + 1) * size, (n * 4 + 2) * size, (n * 4 + 3) * size
    row = n * size
    for j in range(size):
        cell[row + j] = gates[f + j] * before[row + j] + gates[i + j] * gates[g + j]
    for j in range(row, row + size):
        bent[j] = tanh(cell[j])
    for j in range(size):
        hidden[row + j] = gates[o + j] * bent[row + j]


lstm_unit.cuda(
    """
    const T* row = gates + i / size * 4 * size + i % size;
    cell[i] = row[size] * before[i] + row[0] * row[3 * size];
    bent[i] = tanh(cell[i]);
    hidden[i] = row[2 * size] * bent[i];
""",
    over="streams * size",
)


@kernel(
    "before: T*, gates: T*, bent: T*, dcell: T*, dhidden: T*, streams: int, size: int -> dbefore: T*, dgates: T*",
    over="streams * size",
    work="12",
)
def lstm_unit_grad(at, before, gates, bent, dcell, dhidden, streams, size, dbefore, dgates):
    """The gradients of the cell before and of the gates in front of their squashing; dbefore may be dcell."""
    first = at // size * 4 * size + at % size
    i, f, o, g = gates[first], gates[first + size], gates[first + 2 * size], gates[first + 3 * size]
    total = dcell[at] + dhidden[at] * o * (T(1) - bent[at] * bent[at])
    dgates[first] = total * g * i * (T(1) - i)
    dgates[first + size] = total * before[at] * f * (T(1) - f)
    dgates[first + 2 * size] = dhidden[at] * bent[at] * o * (T(1) - o)
    dgates[first + 3 * size] = total * i * (T(1) - g * g)
    dbefore[at] = total * f


lstm_unit_grad.cuda("""
    int first = i / size * 4 * size + i % size;
    T in = gates[first], f = gates[first + size], o = gates[first + 2 * size], g = gates[first + 3 * size];
    T total = dcell[i] + dhidden[i] * o * (T(1) - bent[i] * bent[i]);
    dgates[first] = total * g * in * (T(1) - in);
    dgates[first + size] = total * before[i] * f * (T(1) - f);
    dgates[first + 2 * size] = dhidden[i] * bent[i] * o * (T(1) - o);
    dgates[first + 3 * size] = total * in * (T(1) - g * g);
    dbefore[i] = total * f;
""")


class LSTMUnit(MarkedLayer, type="LSTMUnit"):
    """Cells (1, N, D), gates (1, N, 4 D) and markers (1, N) to new cells and their outputs, both (1, N, D)."""

    bottoms, tops = exactly(3), exactly(2)
    backward_reads = ("bottom",)
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
        kept = {"squashed": (gates, None), "bent": (cells, None)}
        unwanted = {"dcells": (cells, None), "dgates": (gates, None)}
        return Shapes(top=[cells, cells], scratch={"fault": ((1,), np.int64), **kept, **unwanted})

    def forward(self, bottom, top):
        cells, gates, cont = (b.data for b in bottom)
        check_markers(cont, self.streams, self.fault)
        ops.copy(gates, bottom[1].count, self.squashed)
        squash_gates(cont, self.streams, self.size, self.squashed)
        lstm_unit(cells, self.squashed, self.streams, self.size, top[0].data, self.bent, top[1].data)

    def backward(self, top, propagate_down, bottom):
        dcells, dgates = bottom[0].diff, bottom[1].diff
        lstm_unit_grad(
            bottom[0].data, self.squashed, self.bent, top[0].diff, top[1].diff, self.streams, self.size,
            dcells if propagate_down[0] else self.dcells,
            dgates if propagate_down[1] else self.dgates,
        )  # fmt: skip
