"""A small net with everything that matters to a file of weights."""

from __future__ import annotations

import numpy as np

from pycaffe_lite.net.net import Net
from pycaffe_lite.proto import NetParameter, caffe_pb2, text

NET = """
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 6 dim: 6 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }
layer { name: "part/conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "part" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" param { name: "w" }
        inner_product_param { num_output: 64 weight_filler { type: "xavier" } bias_filler { value: 0.5 } } }
layer { name: "again" type: "InnerProduct" bottom: "ip" top: "again" param { name: "w" }
        inner_product_param { num_output: 64 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "score" type: "InnerProduct" bottom: "again" top: "score"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""


def make_net(prototxt: str = NET, **options) -> Net:
    param = text.parse(prototxt, NetParameter())
    param.state.phase = caffe_pb2.TRAIN
    return Net.from_proto(param, **options)


def values(net: Net, what: str = "data") -> dict[str, np.ndarray]:
    """All parameters, copied."""
    return {f"{name}/{i}": getattr(b, what).copy() for name, blobs in net.params.items() for i, b in enumerate(blobs)}


def assert_equal(net: Net, expected: dict[str, np.ndarray], what: str = "data") -> None:
    found = values(net, what)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
