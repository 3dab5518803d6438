"""The worked example of the course this project comes from, done by hand there and by a net here.

Two inputs, three hidden units, two outputs, sigmoids everywhere, half the squared error as loss:

    x1 = .4 --w1 = 1.5--> h1 --w7 = .40--> o1 (target .01)
    x2 = .3 --w2 = 2.0--> h1 --w8 = .50--> o2 (target .99)

The course gives the weights into h1 and o1, and the sums of h2 and h3; other weights are chosen to match.
"""

from __future__ import annotations

import numpy as np
import pytest

from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, text

NET = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "target" type: "Input" top: "target" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "hidden" type: "InnerProduct" bottom: "x" top: "hidden" inner_product_param { num_output: 3 } }
layer { name: "h" type: "Sigmoid" bottom: "hidden" top: "h" }
layer { name: "output" type: "InnerProduct" bottom: "h" top: "output" inner_product_param { num_output: 2 } }
layer { name: "o" type: "Sigmoid" bottom: "output" top: "o" }
layer { name: "loss" type: "EuclideanLoss" bottom: "o" bottom: "target" top: "E" }
"""
INTO_HIDDEN = [[1.5, 2.0], [0.1, 0.5], [0.05, 0.1]], [0.35, 0.35, 0.35]
INTO_OUTPUT = [[0.40, 0.55, 0.35], [0.50, 0.60, 0.20]], [0.2, 0.2]
DIGITS = 0.00005  # half a unit of the fourth decimal, to which the course gives its numbers


@pytest.fixture(scope="module")
def net() -> Net:
    """The net of the example, once forward and once backward."""
    made = Net.from_proto(text.parse(NET, NetParameter()))
    for name, (weight, bias) in {"hidden": INTO_HIDDEN, "output": INTO_OUTPUT}.items():
        made.params[name][0].data[...] = weight
        made.params[name][1].data[...] = bias
    made.forward(x=np.array([[0.4, 0.3]]), target=np.array([[0.01, 0.99]]))
    made.backward()
    return made


@pytest.mark.parametrize(
    ("blob", "values"),
    [
        ("hidden", [1.55, 0.54, 0.40]),
        ("h", [0.8249, 0.6318, 0.5987]),
        ("o", [0.7478, 0.7524]),
        ("E", [0.3004]),
    ],
)
def test_forward_gives_the_numbers_of_the_course(net, blob, values):
    assert net.blobs[blob].data.reshape(-1) == pytest.approx(values, abs=DIGITS)


def test_backward_gives_the_numbers_of_the_course(net):
    into_hidden, into_output = (net.params[name][0].diff for name in ("hidden", "output"))
    assert into_output[0, 0] == pytest.approx(0.1148, abs=DIGITS)  # dE/dw7
    assert net.blobs["h"].diff[0, 0] == pytest.approx(0.0335, abs=DIGITS)  # dE/dout_h1
    assert into_hidden[0, 0] == pytest.approx(0.0019, abs=DIGITS)  # dE/dw1
