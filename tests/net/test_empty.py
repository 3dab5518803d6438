"""Batches of nothing: nets run over them, leave parameters alone, and go on with full ones."""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite import Net
from pycaffe_lite.errors import ConfigError
from pycaffe_lite.proto import NetParameter, text

SOURCE = """
layer { name: "in" type: "Input" top: "x" top: "t"
        input_param { shape { dim: 0 dim: 2 dim: 5 dim: 5 } shape { dim: 0 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "pool" top: "pool" }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "t" top: "loss" }
"""


def built(source: str) -> Net:
    param = text.parse(source, NetParameter())
    param.state.phase = 0
    return Net.from_proto(param)


def run(net: Net, count: int) -> float:
    net.blobs["x"].reshape(count, 2, 5, 5)
    net.blobs["t"].reshape(count)
    net.blobs["x"].data[...] = np.linspace(-1, 1, count * 50).reshape(count, 2, 5, 5)
    net.clear_param_diffs()
    loss = net.run_forward()
    net.run_backward()
    return loss


def test_nothing_costs_nothing_and_teaches_nothing():
    net = built(SOURCE)
    assert run(net, 0) == 0
    assert net.blobs["ip"].data.shape == (0, 3)
    gradients = [b.diff.any() for blobs in net.params.values() for b in blobs]
    assert gradients == [False] * 4
    full = run(net, 4)
    assert full > 0 and net.params["conv"][0].diff.any()
    assert run(net, 0) == 0 and run(net, 4) == full


def test_an_inner_product_of_nothing_is_its_bias():
    net = built(
        """layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 0 } } }
        layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
                inner_product_param { num_output: 3 bias_filler { value: 7 } weight_filler { type: "xavier" } } }"""
    )
    assert net.forward()["y"].tolist() == [[7] * 3] * 2


def test_a_convolution_without_space_is_an_inner_product():
    net = built(
        """force_backward: true
        layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 5 dim: 4 } } }
        layer { name: "conv" type: "Convolution" bottom: "x" top: "y"
                convolution_param { num_output: 3 kernel_size: 1
                                    weight_filler { type: "xavier" } bias_filler { value: 1 } } }"""
    )
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    weight, bias = net.params["conv"]
    assert weight.shape == (3, 4)
    np.testing.assert_allclose(net.forward(x=x)["y"], x @ weight.data.T + 1, rtol=1e-5)
    dy = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    np.testing.assert_allclose(net.backward(y=dy)["x"], dy @ weight.data, rtol=1e-5)
    np.testing.assert_allclose(weight.diff, dy.T @ x, rtol=1e-5)
    np.testing.assert_allclose(bias.diff, dy.sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize("dims", ["dim: 2 dim: 0 dim: 5 dim: 5", "dim: 2 dim: 2 dim: 0 dim: 5"])
def test_images_without_pixels_are_refused(dims):
    with pytest.raises(ConfigError, match=r"layer 'conv' \(Convolution\): bottom: only the batch may be empty"):
        built(SOURCE.replace("dim: 0 dim: 2 dim: 5 dim: 5", dims))
