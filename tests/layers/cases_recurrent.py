"""Exam rows of the recurrent layers."""

from __future__ import annotations

import numpy as np
from exam import Case, spread


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def unit(before, gates, cont):
    """One LSTM step over gates (N, 4 D)."""
    i, f, o, g = np.split(gates, 4, axis=-1)
    cell = cont[:, None] * sigmoid(f) * before + sigmoid(i) * np.tanh(g)
    return cell, sigmoid(o) * np.tanh(cell)


def inputs(layer, bottoms, params):
    """What the inputs add to every step, the weights left over, and the first states."""
    x, rest = bottoms[0].reshape(*bottoms[0].shape[:2], -1), list(params[2:])
    sums = x @ params[0].T + params[1]
    if layer.has_static:
        sums = sums + bottoms[2].reshape(len(bottoms[2]), -1) @ rest.pop(0).T
    size = layer.param.num_output
    first = [b[0] for b in bottoms[layer.first_hidden :]] or [np.zeros((x.shape[1], size))] * layer.states
    return sums, rest, first


def lstm(bottoms, params, layer):
    sums, (weight,), (hidden, cell) = inputs(layer, bottoms, params)
    top = []
    for step, cont in zip(sums, bottoms[1]):
        cell, hidden = unit(cell, step + (cont[:, None] * hidden) @ weight.T, cont)
        top.append(hidden)
    return [top, hidden, cell][: len(layer.message.top)]


def rnn(bottoms, params, layer):
    sums, (weight, out, bias), (hidden,) = inputs(layer, bottoms, params)
    top = []
    for step, cont in zip(sums, bottoms[1]):
        hidden = np.tanh(step + (cont[:, None] * hidden) @ weight.T)
        top.append(np.tanh(hidden @ out.T + bias))
    return [top, hidden][: len(layer.message.top)]


def cells(bottoms, params, layer):
    return unit(bottoms[0][0], bottoms[1][0], bottoms[2][0])


CONT = np.array([[0, 0, 1], [1, 1, 1], [0, 1, 1], [1, 1, 0]], float)
ONES = np.ones((3, 2))


def recurrent(kind, fields, bottoms, reference, **rest):
    return Case(f'type: "{kind}" recurrent_param {{ {fields} }}', bottoms, reference=reference, **rest)


def rows(kind, reference, states):
    """The same questions for both kinds. A static input or state has no time axis, so it cannot be reshaped."""
    hidden = [spread((1, 2, 5), 7 + i) for i in range(states)]
    exposed = {"tops": 1 + states, "reshape": False, "gradient": False}
    return [
        recurrent(kind, "num_output: 5", [(4, 3, 2), CONT], reference),
        recurrent(kind, "num_output: 3", [(4, 3, 2, 1, 2), CONT], reference),
        recurrent(kind, "num_output: 1", [(1, 1, 1), np.zeros((1, 1))], reference),
        recurrent(kind, "num_output: 1", [(3, 2), ONES], reference),
        recurrent(kind, "num_output: 5", [(4, 3, 2), CONT, (3, 2, 3)], reference, reshape=False),
        recurrent(kind, "num_output: 5 expose_hidden: true", [(3, 2, 2), ONES, *hidden], reference, **exposed),
        recurrent(kind, "num_output: 5 expose_hidden: true", [(3, 2, 2), ONES, (2, 4), *hidden], reference, **exposed),
    ]


CASES: dict[str, list[Case]] = {
    "LSTM": rows("LSTM", lstm, 2),
    "RNN": rows("RNN", rnn, 1),
    "LSTMUnit": [
        Case('type: "LSTMUnit"', [(1, 3, 2), (1, 3, 8), CONT[:1]], tops=2, reference=cells, reshape=False),
        Case('type: "LSTMUnit"', [(1, 1, 1), (1, 1, 4), np.ones((1, 1))], tops=2, reference=cells, reshape=False),
    ],
}
