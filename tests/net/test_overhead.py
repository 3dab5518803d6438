"""What Python does around the kernels, counted in calls of functions: it is not to grow unseen."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite.proto import SolverParameter, text

X = np.zeros((1, 8), np.float32)
NET = """
force_backward: true
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 8 } } }
layer { name: "relu" type: "ReLU" bottom: "data" top: "out" }
"""


def python_calls(call: Any) -> int:
    """How many Python functions a call enters."""
    call()  # what is made once is made
    count = 0

    def see(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        call()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize(
    "call, limit",
    [
        (lambda net: net.forward(), 45),
        (lambda net: net.forward(data=X), 55),
        (lambda net: net.backward(), 40),
        (lambda net: net.blobs["data"].data, 8),
        (lambda net: net.blobs["data"], 0),
        (lambda net: net.params, 0),
    ],
)
def test_a_net_of_one_layer_costs_few_calls(call, limit):
    net = caffe.Net.from_prototxt(NET)
    assert python_calls(lambda: call(net)) <= limit + 2, "the two lambdas among them"


def test_an_iteration_costs_few_calls():
    source = """
    layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 8 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 4 } }
    layer { name: "loss" type: "Reduction" bottom: "ip" top: "loss" loss_weight: 1 }
    """
    message = f'net_param {{ {source} }} base_lr: 0.01 lr_policy: "fixed" max_iter: 1'
    solver = caffe.get_solver(text.parse(message, SolverParameter()))
    calls = python_calls(lambda: solver.step(1))
    assert calls <= 60, calls


def test_a_net_with_many_layers_costs_no_more_where_nothing_breaks_the_run():
    def net(layers: int) -> caffe.Net:
        more = "".join(f'layer {{ name: "r{i}" type: "TanH" bottom: "out" top: "out" }}' for i in range(layers))
        return caffe.Net.from_prototxt(NET + more)

    few, many = (python_calls(net(count).forward) for count in (1, 41))
    assert many == few
