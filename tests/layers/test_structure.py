"""What the exam cannot ask of one layer by itself: memory that is shared, statistics, shapes that follow values."""

from __future__ import annotations

import numpy as np
import pytest
from exam import Case, build, spread

from pycaffe_lite.backend.cpu import pool
from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2, text


def net_of(source: str, phase: int = caffe_pb2.TRAIN, **options) -> Net:
    param = text.parse(source, NetParameter())
    param.state.phase = phase
    return Net.from_proto(param, **options)


def input_layer(name: str, *shape: int) -> str:
    dims = " ".join(f"dim: {d}" for d in shape)
    return f'layer {{ name: "{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


VIEWS = [
    'type: "Flatten"',
    'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 } }',
    'type: "Concat"',
    'type: "Slice"',
]


@pytest.mark.parametrize("body", VIEWS)
def test_a_view_is_the_memory_of_its_bottom(body):
    net = net_of(input_layer("x", 2, 3, 4) + f'layer {{ name: "l" bottom: "x" top: "y" {body} }}')
    x, y = net.blobs["x"], net.blobs["y"]
    for batch in (2, 5, 1):
        x.reshape(batch, 3, 4)
        x.data[...] = spread(x.shape, batch)
        net.run_forward()
        assert np.shares_memory(x.data, y.data)
        assert np.shares_memory(x.diff, y.diff)
        assert np.array_equal(y.data.reshape(-1), x.data.reshape(-1))


@pytest.mark.parametrize("share_memory", [False, True])
def test_what_works_in_place_behind_a_view_leaves_the_bottom_alone(share_memory):
    net = net_of(
        input_layer("x", 2, 3)
        + """layer { name: "p" type: "Power" bottom: "x" top: "p" }
             layer { name: "f" type: "Flatten" bottom: "p" top: "f" }
             layer { name: "r" type: "ReLU" bottom: "f" top: "f" }
             layer { name: "s" type: "Eltwise" bottom: "p" bottom: "f" top: "s" }""",
        share_memory=share_memory,
    )
    net.blobs["x"].data[...] = x = spread((2, 3))
    net.run_forward()
    assert np.allclose(net.blobs["s"].data, x + np.maximum(x, 0))


def test_batch_norm_keeps_the_sums_that_caffe_keeps():
    net = build(Case('type: "BatchNorm" batch_norm_param { moving_average_fraction: 0.9 }', [(4, 3, 5)]))
    blobs = net.layer_dict["l"].blobs
    for blob in blobs:
        blob.data[...] = 0
    mean, variance, weight = np.zeros(3), np.zeros(3), 0.0
    for step in range(3):
        net.blobs["x0"].data[...] = x = spread((4, 3, 5), step, -step, 3)
        net.run_forward()
        mean = mean * 0.9 + x.mean((0, 2))
        variance = variance * 0.9 + x.var((0, 2)) * 20 / 19
        weight = weight * 0.9 + 1
    for blob, wanted in zip(blobs, (mean, variance, [weight])):
        assert np.allclose(blob.data, wanted, atol=1e-6)


def test_statistics_have_no_gradient_and_no_learning_rate_even_under_force_backward():
    net = build(Case('type: "BatchNorm" batch_norm_param { scale_bias: true }'))
    assert net.layer_dict["l"].param_propagate_down == [False, False, False, True, True]
    assert [entry.lr_mult for entry in net.graph.learnable] == [0, 0, 0, 1, 1]


def test_an_empty_batch_leaves_statistics_alone():
    net = build(Case('type: "BatchNorm"', [(2, 3)]))
    before = [blob.data.copy() for blob in net.layer_dict["l"].blobs]
    net.blobs["x0"].reshape(0, 3)
    net.run_forward()
    assert all(np.array_equal(blob.data, old) for blob, old in zip(net.layer_dict["l"].blobs, before))


def test_layers_behind_a_filter_follow_its_selection():
    net = net_of(
        "force_backward: true "
        + input_layer("x", 4, 3)
        + input_layer("select", 4)
        + """layer { name: "f" type: "Filter" bottom: "x" bottom: "select" top: "f" }
             layer { name: "p" type: "Power" bottom: "f" top: "p" power_param { scale: 2 } }
             layer { name: "r" type: "Reduction" bottom: "p" top: "r" loss_weight: 1 }"""
    )
    net.blobs["x"].data[...] = x = spread((4, 3))
    for chosen in ([1, 3], [0], [], [0, 1, 2, 3]):
        net.blobs["select"].data[...] = np.isin(np.arange(4), chosen)
        assert np.isclose(net.run_forward(), 2 * x[chosen].sum(), atol=1e-6)
        assert net.blobs["p"].shape == (len(chosen), 3)
        net.run_backward()
        assert np.array_equal(net.blobs["x"].diff, 2 * np.isin(np.arange(4), chosen)[:, None] * np.ones(3))


@pytest.mark.parametrize(
    "body",
    [
        'type: "BatchNorm"',
        'type: "Scale" scale_param { bias_term: true }',
        'type: "PReLU" prelu_param { channel_shared: true }',
        'type: "LRN"',
        'type: "Reduction"',
        'type: "MVN"',
    ],
)
def test_results_do_not_depend_on_the_number_of_threads(body):
    results = []
    for threads in (1, 3):
        pool.set_threads(threads)
        net = build(Case(body, [(3, 37, 41, 43)]), np.float32)
        net.run_forward()
        net.blobs["y0"].diff[...] = spread(net.blobs["y0"].shape, 5)
        net.run_backward()
        grads = [blob.diff for blob in net.layer_dict["l"].blobs]
        results.append([net.blobs["y0"].data, net.blobs["x0"].diff, *grads])
    pool.set_threads(pool.default_threads())
    for one, three in zip(*results):
        assert np.array_equal(one, three)
