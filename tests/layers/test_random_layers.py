"""Layers that draw random numbers: each its own, the same ones again after the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from exam import Case, build

from pycaffe_lite import random
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2, text

LAYERS = {
    "Dropout": 'type: "Dropout"',
    "stochastic Pooling": 'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }',
}


def run_two(layer: str, seed: int) -> list[np.ndarray]:
    """The tops of two such layers with the same bottom, in two successive forwards."""
    random.set_random_seed(seed)
    data = 'name: "x" type: "DummyData" top: "x" dummy_data_param { shape { dim: 1 dim: 1 dim: 8 dim: 9 }'
    lines = [f'layer {{ {data} data_filler {{ type: "uniform" }} }} }}']
    lines += [f'layer {{ name: "{name}" bottom: "x" top: "{name}" {layer} }}' for name in "ab"]
    param = text.parse("\n".join(lines), NetParameter())
    param.state.phase = caffe_pb2.TRAIN
    net = Net.from_proto(param)
    return [net.forward()[name].copy() for _ in range(2) for name in "ab"]


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_draws_differ_between_layers_and_runs_and_repeat_with_the_seed(layer):
    tops = [run_two(layer, 1), run_two(layer, 2), run_two(layer, 1)]
    assert all(np.array_equal(a, b) for a, b in zip(tops[0], tops[2]))
    kept = [[t != 0 for t in run] for run in tops] if "Dropout" in layer else tops
    different = [*kept[0], *kept[1]]
    for i, one in enumerate(different):
        assert not any(np.array_equal(one, other) for other in different[:i])


def test_stochastic_pooling_draws_in_proportion_to_the_values():
    body = 'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }'
    net = build(Case(body, [np.tile([[0.0, 1], [3, 6]], (1, 5000, 1, 1))]))
    net.run_forward()
    values, counts = np.unique(net.blobs["y0"].data, return_counts=True)
    assert values.tolist() == [1, 3, 6]  # never the 0
    assert counts / 5000 == pytest.approx([0.1, 0.3, 0.6], abs=0.03)
