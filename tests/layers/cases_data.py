"""Exam rows of the layers that bring data into a net or take it out."""

from __future__ import annotations

import numpy as np
from exam import Case, spread

MEMORY = spread((6, 2, 3, 1))


def give_arrays(net):
    net.set_input_arrays(MEMORY, np.arange(6))


def second_batch(bottoms, params, layer):
    return [MEMORY[3:], np.arange(3, 6)]


def run_once(net):
    give_arrays(net)
    net.run_forward()


CASES: dict[str, list[Case]] = {
    "DummyData": [
        Case(
            'type: "DummyData" dummy_data_param { shape { dim: 2 dim: 3 } data_filler { value: 1.5 } }',
            bottoms=(), tops=2, reshape=False, reference=lambda b, p, layer: [np.full((2, 3), 1.5)] * 2,
        ),
        Case(
            'type: "DummyData" dummy_data_param { num: 2 channels: 1 channels: 3 height: 1 width: 5'
            ' data_filler { type: "gaussian" std: 2 } data_filler { value: 3 } }',
            bottoms=(), tops=2, reshape=False,
        ),
        Case('type: "DummyData" dummy_data_param { shape { dim: 1 } }', bottoms=(), reshape=False),
    ],
    "MemoryData": [
        Case(
            'type: "MemoryData" memory_data_param { batch_size: 3 channels: 2 height: 3 width: 1 }',
            bottoms=(), tops=2, reshape=False, before=run_once, reference=second_batch,
        ),
    ],
}  # fmt: skip


def python(layer, param_str="", **rest):
    fields = f'module: "sample_layers" layer: "{layer}" param_str: "{param_str}"'
    return Case(f'type: "Python" python_param {{ {fields} }}', **rest)


CASES["Python"] = [
    python("TimesTen", reference=lambda b, p, layer: [10 * b[0]]),
    python(
        "TimesTen", bottoms=[(2, 3), (1,)], tops=2, reshape=False, reference=lambda b, p, layer: [10 * x for x in b]
    ),
    python("Affine", "1 2", reference=lambda b, p, layer: [p[0] * b[0] + p[1]]),
    python("Square", bottoms=[(3, 2)], reference=lambda b, p, layer: [(b[0] ** 2).sum() / 6]),
    python("Positive", bottoms=[(3, 2)], gradient=False, reference=lambda b, p, layer: [b[0][b[0] > 0]]),
]
