"""Net surgery, as pycaffe's tutorial teaches it: filters by hand, and a classifier turned into a sliding window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pycaffe_lite as caffe
from pycaffe_lite.data.mnist import read_mnist

# Net(file, weights, phase) is how the tutorial has it.
pytestmark = pytest.mark.filterwarnings("ignore:Net.file, weights, phase:DeprecationWarning")

RNG = np.random.default_rng(0)

CONV = """
name: "convolution"
input: "data"
input_shape { dim: 1 dim: 1 dim: 20 dim: 24 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 5 stride: 1
                            weight_filler { type: "gaussian" std: 0.01 } bias_filler { value: 0 } } }
"""

# conv1 is the same in both; what is fully connected in one is a convolution of another name in the other.
HEAD = """
name: "NAME"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 dim: 12 dim: 12 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
"""
CLASSIFIER = (
    HEAD
    + """
layer { name: "fc2" type: "InnerProduct" bottom: "pool1" top: "fc2"
        inner_product_param { num_output: 8 weight_filler { type: "xavier" } bias_filler { value: 0.1 } } }
layer { name: "relu2" type: "ReLU" bottom: "fc2" top: "fc2" }
layer { name: "fc3" type: "InnerProduct" bottom: "fc2" top: "fc3"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc3" top: "prob" }
"""
)
SLIDING = (
    HEAD
    + """
layer { name: "fc2-conv" type: "Convolution" bottom: "pool1" top: "fc2-conv"
        convolution_param { num_output: 8 kernel_size: 5 } }
layer { name: "relu2" type: "ReLU" bottom: "fc2-conv" top: "fc2-conv" }
layer { name: "fc3-conv" type: "Convolution" bottom: "fc2-conv" top: "fc3-conv"
        convolution_param { num_output: 5 kernel_size: 1 } }
layer { name: "prob" type: "Softmax" bottom: "fc3-conv" top: "prob" }
"""
)


def net_file(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.prototxt"
    path.write_text(text.replace("NAME", name))
    return str(path)


def correlate(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What a convolution layer computes, pixel by pixel."""
    rows, columns = (size - width + 1 for size, width in zip(image.shape, kernel.shape))
    windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)
    assert windows.shape[:2] == (rows, columns)
    return (windows * kernel).sum((2, 3))


def test_designer_filters(tmp_path):
    net = caffe.Net(net_file(tmp_path, "conv", CONV), caffe.TEST)
    assert [(name, value.data.shape) for name, value in net.blobs.items()] == [
        ("data", (1, 1, 20, 24)), ("conv", (1, 3, 16, 20)),
    ]  # fmt: skip
    image = RNG.random((20, 24)).astype(np.float32)
    net.blobs["data"].reshape(1, 1, *image.shape)
    net.blobs["data"].data[...] = image

    filters = np.zeros((3, 5, 5), np.float32)
    y, x = np.mgrid[-2:3, -2:3]
    filters[0] = np.exp(-(y**2 + x**2) / 2) / np.exp(-(y**2 + x**2) / 2).sum()  # a blur
    filters[1, 1:4, 1:4] = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]  # edges
    filters[2, 1:4, 1:4] = filters[1, 1:4, 1:4].T
    for number, kernel in enumerate(filters):
        net.params["conv"][0].data[number, 0] = kernel
    net.forward()
    for number, kernel in enumerate(filters):
        np.testing.assert_allclose(net.blobs["conv"].data[0, number], correlate(image, kernel), rtol=1e-4, atol=1e-5)

    before = net.blobs["conv"].data.copy()
    net.params["conv"][1].data[0] = 1.0  # the bias of the first filter
    net.forward()
    np.testing.assert_allclose(
        net.blobs["conv"].data - before, [[[[1]], [[0]], [[0]]]] * np.ones_like(before), atol=1e-5
    )


def transplant(classifier: caffe.Net, sliding: caffe.Net) -> None:
    """Give the convolutions the weights of the fully connected layers, in the tutorial's words."""
    for name in ("fc2", "fc3"):
        sliding.params[f"{name}-conv"][0].data.flat = classifier.params[name][0].data.flat
        sliding.params[f"{name}-conv"][1].data[...] = classifier.params[name][1].data


def test_a_classifier_slides_over_a_larger_image(tmp_path):
    classifier = caffe.Net(net_file(tmp_path, "classifier", CLASSIFIER), caffe.TEST)
    classifier.save(str(tmp_path / "classifier.caffemodel"))
    model = net_file(tmp_path, "sliding", SLIDING)
    sliding = caffe.Net(model, str(tmp_path / "classifier.caffemodel"), caffe.TEST)
    np.testing.assert_array_equal(sliding.params["conv1"][0].data, classifier.params["conv1"][0].data)
    transplant(classifier, sliding)
    sliding.save(str(tmp_path / "sliding.caffemodel"))

    # On an image of the first net's size both say the same.
    image = RNG.random((1, 2, 12, 12)).astype(np.float32)
    expected = classifier.forward(data=image)["prob"]
    np.testing.assert_allclose(sliding.forward(data=image)["prob"][:, :, 0, 0], expected, rtol=1e-5)

    # On a larger one the answer at each place is that for the window there; windows are 2 pixels apart (pool1).
    reloaded = caffe.Net(model, caffe.TEST, weights=str(tmp_path / "sliding.caffemodel"))
    large = RNG.random((1, 2, 18, 16)).astype(np.float32)
    reloaded.blobs["data"].reshape(*large.shape)
    reloaded.blobs["data"].data[...] = large
    found = reloaded.forward()["prob"]
    assert found.shape == (1, 5, 4, 3)
    for row in range(4):
        for column in range(3):
            window = large[:, :, 2 * row : 2 * row + 12, 2 * column : 2 * column + 12]
            expected = classifier.forward(data=window)["prob"][0]
            np.testing.assert_allclose(found[0, :, row, column], expected, rtol=1e-4, atol=1e-6)


def test_a_channel_is_cut_out(tmp_path):
    """Pruning: without a filter whose output nobody reads, the net says what it said before."""
    classifier = caffe.Net(net_file(tmp_path, "classifier", CLASSIFIER), caffe.TEST)
    readers = classifier.params["fc2"][0].data.reshape(8, 4, 5, 5)  # a view: writing into it reaches the net
    readers[:, 1] = 0
    smaller = caffe.Net(net_file(tmp_path, "smaller", CLASSIFIER.replace("num_output: 4", "num_output: 3")), caffe.TEST)
    keep = [0, 2, 3]
    for index in (0, 1):
        smaller.params["conv1"][index].data[...] = classifier.params["conv1"][index].data[keep]
        smaller.params["fc3"][index].data[...] = classifier.params["fc3"][index].data
    smaller.params["fc2"][0].data[...] = readers[:, keep].reshape(8, -1)
    smaller.params["fc2"][1].data[...] = classifier.params["fc2"][1].data
    image = RNG.random((1, 2, 12, 12)).astype(np.float32)
    expected = classifier.forward(data=image)["prob"].copy()
    np.testing.assert_allclose(smaller.forward(data=image)["prob"], expected, rtol=1e-5)


def test_a_trained_lenet_reads_digits_side_by_side(shared, tmp_path):
    """The surgery on a model that Caffe trained: an image of two digits gets two answers."""
    folder = shared / "models" / "lenet_everpeace"
    classifier = caffe.Net(str(folder / "lenet.prototxt"), str(folder / "lenet_iter_10000.caffemodel"), caffe.TEST)
    param = caffe.proto.caffe_pb2.NetParameter()
    param.CopyFrom(classifier.param)
    for layer in param.layer:
        if layer.type == "InnerProduct":
            layer.type, outputs = "Convolution", layer.inner_product_param.num_output
            layer.ClearField("inner_product_param")
            layer.convolution_param.num_output = outputs
            layer.convolution_param.kernel_size.append(4 if layer.name == "ip1" else 1)
            layer.name += "-conv"
    model = tmp_path / "sliding.prototxt"
    model.write_text(str(param))
    sliding = caffe.Net(str(model), caffe.TEST, weights=str(folder / "lenet_iter_10000.caffemodel"))
    for name in ("ip1", "ip2"):
        sliding.params[f"{name}-conv"][0].data.flat = classifier.params[name][0].data.flat
        sliding.params[f"{name}-conv"][1].data[...] = classifier.params[name][1].data

    digits = read_mnist(shared / "data" / "mnist").test.images[:2]
    single = classifier.forward_all(data=digits[:, None] / np.float32(256))["prob"]
    pair = np.concatenate([digits[0], digits[1]], axis=1) / np.float32(256)  # 28 x 56
    sliding.blobs["data"].reshape(1, 1, 28, 56)
    found = sliding.forward(data=pair[None, None])["prob"][0, :, 0]
    # Windows are 4 pixels apart, so the second digit is seen whole at the seventh step.
    np.testing.assert_allclose(found[:, 0], single[0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found[:, 7], single[1], rtol=1e-3, atol=1e-5)
    assert [found[:, 0].argmax(), found[:, 7].argmax()] == [7, 2]
