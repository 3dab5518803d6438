"""Small nets for use, on disk with their weights, for tests of what stands in front of nets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import pycaffe_lite as caffe

LINEAR = """
name: "linear"
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: {shape} }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "score" inner_product_param {{ num_output: 4 }} }}
"""


def write_linear(folder: Path, shape: tuple[int, ...]) -> tuple[str, str, np.ndarray, np.ndarray]:
    """A net whose four outputs are weighted sums of its input; returns its two files, the weights and the bias."""
    model, weights = folder / "linear.prototxt", folder / "linear.caffemodel"
    model.write_text(LINEAR.format(shape=" dim: ".join(map(str, shape))))
    net = caffe.Net(str(model), caffe.TEST)
    rng = np.random.default_rng(3)
    for blob in net.params["ip"]:
        blob.data[...] = rng.normal(size=blob.shape) / 100
    net.save(weights)
    return str(model), str(weights), net.params["ip"][0].data.copy(), net.params["ip"][1].data.copy()
